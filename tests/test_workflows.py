"""What the workflows, the hooks and the templates name is there, and they agree with pyproject.toml and each other."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from specter_jobs.dumps.readers import FormatName

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
TEMPLATES = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What the runners bring along, and the shell itself.
TOOLS = {"coverage"}  # of `make setup`, by their names in .venv/bin
OF_THE_RUNNER = {"docker", "gh", "python3", "echo"}


def workflow(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in workflow(path)["jobs"].items():
            yield f"{path.stem}: {name}", job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in jobs():
        yield from ((name, step) for step in job.get("steps", ()))


def commands() -> list[tuple[str, list[str]]]:
    """Return the words of each command line of each `run:`, with the expressions of Actions as one word."""
    lines = []
    for name, step in steps():
        for line in re.sub(r"\$\{\{.*?\}\}", "EXPRESSION", step.get("run", "")).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"\w+=", words[0]):
                words = words[1:]
            if words:
                lines.append((name, words))
    return lines


def hooked() -> list[dict[str, Any]]:
    return list(yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"])


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def claimed_pythons() -> list[str]:
    found = (re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"])
    return [match[1] for match in found if match]


def test_each_command_of_a_workflow_is_there() -> None:
    assert len(commands()) >= 10
    for name, words in commands():
        if words[0] == "make":
            targets = {word for word in words[1:] if "=" not in word}
            assert targets <= make_targets(), (name, words)
        elif words[0].startswith((".", "/")):
            tool = words[0].removeprefix(".venv/bin/")
            assert tool in TOOLS or os.access(ROOT / words[0], os.X_OK), (name, words)
        else:
            assert words[0] in OF_THE_RUNNER, (name, words)
        for word in words[1:]:
            if word.startswith((".ci/", "jobs/", "benchmarks/")):
                assert (ROOT / word).is_file(), (name, words)


def test_the_script_of_ci_runs_make_targets_that_are_there() -> None:
    script = (ROOT / ".ci/run").read_text()
    targets = {*re.findall(r"^make ([a-z0-9-]+)", script, re.MULTILINE), *re.findall(r"CI_TESTS:-([a-z-]+)", script)}
    assert {"lint", "docs", "demo", "wheel-trial", "test"} <= targets <= make_targets()
    # What the workflow has it run in place of the tests alone.
    named = [step["env"]["CI_TESTS"] for _, step in steps() if "CI_TESTS" in step.get("env", {})]
    assert (
        {word for text in named for word in re.findall(r"'([a-z]+)'", text)} == {"coverage", "test"} <= make_targets()
    )


def test_ci_runs_each_python_that_is_claimed() -> None:
    matrix = workflow(GITHUB / "workflows/ci.yml")["jobs"]["ci"]["strategy"]["matrix"]["python"]
    assert matrix == claimed_pythons()
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert matrix[0] == lowest
    # The same lowest version for the tools that read it, and for who types `make setup`.
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert tools["mypy"]["python_version"] == lowest
    assert tools["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    assert f"sys.version_info < ({lowest.replace('.', ', ')})" in (ROOT / "Makefile").read_text()


def test_every_other_python_of_a_workflow_or_an_image_is_one_that_ci_runs() -> None:
    for name, step in steps():
        version = step.get("with", {}).get("python-version")
        assert version in {None, "${{ matrix.python }}", *claimed_pythons()}, name
    for file in (ROOT / "jobs/deploy").glob("Dockerfile*"):
        assert set(re.findall(r"^FROM python:(\S+)-slim", file.read_text(), re.MULTILINE)) <= set(claimed_pythons())


def test_a_release_builds_every_image() -> None:
    images = workflow(GITHUB / "workflows/release.yml")["jobs"]["images"]["strategy"]["matrix"]["include"]
    built = {ROOT / image["dockerfile"] for image in images}
    assert built == set((ROOT / "jobs/deploy").glob("Dockerfile*"))


def test_nothing_is_published_before_everything_was_tried() -> None:
    jobs = workflow(GITHUB / "workflows/release.yml")["jobs"]
    needed, left = set(), ["publish"]
    while left:
        needs = jobs[left.pop()].get("needs", [])
        new = {needs} if isinstance(needs, str) else set(needs)
        left += new - needed
        needed |= new
    assert needed == set(jobs) - {"publish"}
    writers = {name for name, job in jobs.items() if job.get("permissions", {}).get("contents") == "write"}
    assert writers == {"publish"}


def test_actions_are_pinned_to_a_commit_and_one_version_each() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    used = re.findall(r"uses: (?!\./)(\S+)(.*)", text)
    assert len({action for action, _ in used}) == len({action.split("@")[0] for action, _ in used})
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action}: for who reads it, and dependabot"
    for name, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, name


def test_each_job_has_few_rights_and_an_end() -> None:
    for path in WORKFLOWS:
        assert workflow(path)["permissions"] == {"contents": "read"}, path.name
    for name, job in jobs():
        assert "uses" in job or job["timeout-minutes"] <= 60, name


def test_dependabot_looks_where_there_is_something() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    assert [one["package-ecosystem"] for one in updates] == ["pip", "github-actions", "docker"]
    files = {"pip": "constraints.txt", "github-actions": ".github/workflows/ci.yml", "docker": "Dockerfile"}
    for one in updates:
        assert (ROOT / one["directory"].strip("/") / files[one["package-ecosystem"]]).is_file()
    # What pyproject.toml keeps down is not proposed every week.
    caps = [line for extra in PROJECT["optional-dependencies"].values() for line in extra if "<" in line]
    ignored = {one["dependency-name"] for one in updates[0]["ignore"]}
    assert ignored <= {re.split(r"[<>=]", line)[0] for line in caps}


def test_what_the_hooks_run_is_what_make_lint_runs() -> None:
    lint = re.search(r"^lint: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lint
    tools = set(re.findall(r"\$\(BIN\)/(\S+)", lint[1]))
    hooks = [
        hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    entries = [hook["entry"].split()[0] for hook in hooks if "entry" in hook]
    assert {Path(entry).name for entry in entries} == tools
    assert all(entry.startswith(".venv/bin/") for entry in entries)


def test_a_hook_from_elsewhere_has_the_version_of_constraints() -> None:
    for repo in hooked():
        name = repo["repo"].rsplit("/", 1)[-1].removesuffix("-pre-commit").removesuffix("-mirror")
        if repo["repo"] != "local" and name in pinned():
            assert repo["rev"].removeprefix("v") == pinned()[name], repo["repo"]
        else:  # then it brings no tool that the tests or `make lint` run in a version of their own
            assert repo["repo"] in ("local", "https://github.com/pre-commit/pre-commit-hooks")


def test_each_tool_of_make_lint_and_of_the_tests_is_pinned() -> None:
    dev = [re.split(r"[\[<>=]", line)[0] for line in PROJECT["optional-dependencies"]["dev"]]
    assert {name for name in dev if name != "specter-batch"} <= set(pinned())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_an_issue_template_asks_for_what_it_says(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    assert any(field.get("validations", {}).get("required") for field in form["body"])
    assert all(field["attributes"]["label"] for field in form["body"])


def test_the_template_for_papers_read_wrongly_names_every_format() -> None:
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE/paper-read-wrongly.yml").read_text())
    (source,) = (field for field in form["body"] if field["id"] == "source")
    assert set(get_args(FormatName)) <= {option.lower() for option in source["attributes"]["options"]}


def test_each_path_with_an_owner_is_there() -> None:
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if line and line[0] != "#"]
    assert lines
    for pattern, *owners in lines:
        assert owners
        assert pattern == "*" or list(ROOT.glob(pattern.strip("/"))), pattern


# The check of a release


def check(root: Path, tag: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / ".ci/check_release.py"), tag, "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def release(root: Path, *, version: str = "1.2.0", changelog: str) -> Path:
    (root / "specter_batch").mkdir()
    (root / "specter_batch/__init__.py").write_text(f'"""A package."""\n\n__version__ = "{version}"\n')
    (root / "CHANGELOG.md").write_text("# Changelog\n\n" + changelog)
    return root


def test_a_release_has_the_notes_of_its_version(tmp_path: Path) -> None:
    text = "## [Unreleased]\n\n## [1.2.0] - 2026-11-26\n\n### Added\n\n- A thing.\n\n## [1.1.0]\n\n- Another.\n"
    done = check(release(tmp_path, changelog=text), "v1.2.0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "### Added\n\n- A thing.\n", "")


@pytest.mark.parametrize(
    ("tag", "version", "changelog", "told"),
    [
        ("v1.3.0", "1.2.0", "## [1.2.0]\n\n- A thing.\n", "tag this one v1.2.0"),
        ("1.2.0", "1.2.0", "## [1.2.0]\n\n- A thing.\n", "tag this one v1.2.0"),
        ("v1.2.0", "1.2.0", "## [1.1.0]\n\n- A thing.\n", "no entries under '## [1.2.0]'"),
        ("v1.2.0", "1.2.0", "## [1.2.0]\n\n## [1.1.0]\n\n- A thing.\n", "no entries under '## [1.2.0]'"),
        ("v1.2.0", "1.2.0", "## [Unreleased]\n\n- B.\n\n## [1.2.0]\n\n- A.\n", "move them under '## [1.2.0]'"),
    ],
)
def test_a_release_that_does_not_agree_is_refused(
    tmp_path: Path, tag: str, version: str, changelog: str, told: str
) -> None:
    done = check(release(tmp_path, version=version, changelog=changelog), tag)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr


def test_this_version_has_its_section_in_the_changelog() -> None:
    done = check(ROOT, "v0.0.0")
    assert "no entries under" not in done.stderr
