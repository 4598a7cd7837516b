"""Every command that README and docs show runs as it stands there, or at least is one that exists."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from specter_batch.cli import build_app
from specter_batch.model.certificate import Certificate
from specter_batch.model.manifest import BundleManifest, GraphEntry, GraphParity
from specter_batch.settings.declaration import declared_options
from specter_batch.training.demo.sample import write_sample
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.model.head_config import HeadConfig
from specter_export.recipe import Recipe
from specter_jobs.plan.config import NightConfig
from support.pages import BLOCK, PAGES, README, ROOT, blocks, commands, run_in_new_process, run_ours

# What a shell may have in front of our command, and behind it.
OURS = re.compile(r"(?<![\w.'-])specter-batch +(?=[a-z])((?:'[^'\n]*'|[^|&;\n`])*)|-m specter_batch +([^|&;\n`]*)")


@cache
def our_commands() -> dict[str, Any]:
    return dict(get_command(build_app()).commands)  # type: ignore[attr-defined]


def demo_commands(page: str) -> list[str]:
    """Return the lines of the blocks that are for the folder of `make demo`."""
    return [line for language, text in blocks(page) if language == "bash" for line in commands(text)]


@pytest.mark.parametrize("page", [page for page in PAGES if demo_commands(page)])
def test_every_command_runs_as_it_stands(page: str, tiny_encoder: Path, tmp_path: Path) -> None:
    # What `make demo` leaves behind, with a smaller encoder.
    folder = tmp_path / "checkout"
    write_sample(folder / "demo/papers", n_papers=360)
    shutil.copytree(tiny_encoder, folder / "demo/encoder")
    shutil.copytree(ROOT / "jobs/configs", folder / "jobs/configs")
    for line in demo_commands(page):
        if line.startswith("make "):  # whether there is such a target is asked below
            continue
        assert line.startswith("specter-batch "), f"{page}: cannot run here, so it is no bash: {line}"
        code, said = run_in_new_process(run_ours, line, folder)
        assert code == 0, f"{page}: {line}\n{said[-2000:]}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_shown_is_one_that_exists(page: str) -> None:
    shown = [
        (line, "".join(found))
        for language, text in blocks(page)
        if language in {"bash", "sh", "text", ""}
        for line in text.splitlines()
        for found in OURS.findall(line.partition(" #")[0])
    ]
    for line, words in shown:
        name, *arguments = shlex.split(words)
        assert name in our_commands(), f"{page}: no command {name}: {line}"
        # Parses and runs nothing; fails on unknown options, wrong choices and arguments too many or too few.
        our_commands()[name].make_context(name, [part for part in arguments if part != "…"])


@pytest.mark.parametrize("page", PAGES)
def test_every_command_named_in_a_sentence_is_one_that_exists(page: str) -> None:
    for words in re.findall(r"`specter-batch ([a-z][^`]*)`", BLOCK.sub("", (ROOT / page).read_text())):
        name, *arguments = words.split()
        assert name in our_commands(), f"{page}: {words}"
        options = {option for parameter in our_commands()[name].params for option in options_of(parameter)}
        assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= options, f"{page}: {words}"


def test_make_targets_that_are_shown_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    used = {
        found
        for page in PAGES
        for language, text in blocks(page)
        if language in {"bash", "sh"}
        for found in re.findall(r"^make ([a-z0-9-]+)", text, flags=re.MULTILINE)
    }
    assert {"demo", "test", "scidocs"} <= used <= targets


def test_every_command_is_shown_on_a_page() -> None:
    text = "".join((ROOT / page).read_text() for page in PAGES)
    names = our_commands()
    assert {name for name in names if f"specter-batch {name}" not in text and f"make {name}" not in text} == set()


def test_every_file_that_the_readme_links_to_exists() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / README).read_text())
    files = [target for target in targets if "://" not in target]
    assert len(files) > 15
    assert [target for target in files if not (ROOT / target).is_file()] == []


def options_of(parameter: Any) -> list[str]:
    """Return the names of an option as they are typed; of an argument its metavar."""
    names = [*parameter.opts, *parameter.secondary_opts]
    return names if parameter.param_type_name == "option" else [parameter.metavar]


class Page(HTMLParser):
    """The words of a page, and what a browser fetches to show it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words = ""
        self.fetched: list[str] = []
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.fetched += [value for name, value in attrs if name in {"src", "href", "srcset"} and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    out = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out


def test_every_command_has_a_page_with_each_of_its_options(site: Path) -> None:
    assert {page.stem for page in (site / "commands").glob("*.html")} == {"index", *our_commands()}
    for name, command in our_commands().items():
        words = Page((site / f"commands/{name}.html").read_text()).words
        assert all(paragraph.replace("`", "") in words for paragraph in command.help.split("\n\n"))
        for option in (option for source in command.callback.sources for option in source.options):
            assert option.spelling in words, f"{name}: {option.spelling}"
            assert option.field.description.replace("`", "") in words, f"{name}: {option.spelling}"
            assert option.option.argument or (option.default or "required") in words, f"{name}: {option.spelling}"


def test_the_page_of_settings_has_every_key_of_every_file(site: Path) -> None:
    words = Page((site / "configuration.html").read_text()).words
    for settings in (NightConfig, TrainConfig, HeadConfig, Recipe):
        for option in declared_options(settings):
            assert re.search(rf"^{option.name}$", words, flags=re.MULTILINE), option.name
            assert option.field.description.replace("`", "") in words, option.name
    assert "invalidates finished labels: language, missing_abstract, min_characters, paper" in words


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        away = [target for target in Page(page.read_text()).fetched if re.match(r"\w*:?//", target)]
        assert away == [], page
    for style in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?https?:", style.read_text()) == [], style


def test_a_file_of_the_repository_that_a_page_links_to_is_shown(site: Path) -> None:
    shown = Page((site / "source/jobs/configs/nightly.toml.html").read_text()).words
    assert (ROOT / "jobs/configs/nightly.toml").read_text() in shown
    assert "source/jobs/configs/nightly.toml.html" in (site / "tutorial.html").read_text()


def test_every_field_of_the_bundle_is_told() -> None:
    page = (ROOT / "docs/bundle.md").read_text()
    fields = {name for model in (BundleManifest, Certificate, GraphEntry, GraphParity) for name in model.model_fields}
    assert {name for name in fields if f"`{name}`" not in page} == set()


def test_every_benchmark_is_told_with_how_to_run_it() -> None:
    page = (ROOT / "docs/benchmarks.md").read_text()
    for script in sorted((ROOT / "benchmarks").glob("*.py")):
        run = "Usage: " in (ast.get_docstring(ast.parse(script.read_text())) or "")
        told = f"python benchmarks/{script.name} " if run else f"`{script.name}`"
        assert told in page, script.name


def test_the_workflow_runs_what_ci_runs_with_every_python_we_claim() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["ci"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    claimed = re.findall(r'Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python"] == claimed
