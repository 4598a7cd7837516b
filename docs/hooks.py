"""Pages that mkdocs generates for this site: commands, settings, and linked files of the repository.

A page for each command and a page of all settings are made from the declarations of the options, so they are always up
to date. A command's page also has the lines of the README and the tutorial that use it.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from typer.main import get_command

from specter_batch.cli import build_app
from specter_batch.settings.declaration import DeclaredOption, declared_options
from specter_batch.training.fit.config import DistillConfig, TrainConfig
from specter_batch.training.model.head_config import HeadConfig
from specter_export.recipe import Recipe
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.sections import LabelRules, Reading

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PROGRAM = "specter-batch"
# In the order of the steps, which is that of the examples too.
EXAMPLES = (ROOT / "README.md", DOCS / "tutorial.md")
# The page of all settings: what a file is for, the settings in it, and a file with all of them.
SETTINGS = "configuration.md"
FILES = (
    ("A night", "classify` and `estimate", NightConfig, "../jobs/configs/nightly.toml"),
    ("A training run", "train", TrainConfig, "../specter_batch/training/recipes/fine-tune.toml"),
    ("A student", "distill", DistillConfig, "../specter_batch/training/recipes/distill.toml"),
)
# By the metavar of an option, what its value is in TOML.
TOML_TYPES = {"": "true or false", "INTEGER": "whole number", "NUMBER": "number"}
LINK = re.compile(r"(?<=\]\()(?:\.\./)+[^)#\s]+")


def on_config(config: MkDocsConfig) -> None:
    """Put the commands' pages into the navigation."""
    (reference,) = [section["Reference"] for section in config.nav or [] if "Reference" in section]
    (commands,) = [section["Commands"] for section in reference if "Commands" in section]
    commands += [{name: f"commands/{name}.md"} for name in _commands()]
    reference.insert(1, {"Configuration files": SETTINGS})


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add the generated pages."""
    pages = {"commands/index.md": _index_page(), SETTINGS: _settings_page()}
    pages |= {f"commands/{name}.md": _command_page(name) for name in _commands()}
    texts = {file.src_uri: file.content_string for file in files.documentation_pages()} | pages
    for uri, text in texts.items():
        for target in LINK.findall(text):
            path = _outside(uri, target)
            if path:
                pages[_source_uri(path)] = _source_page(path)
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Change links to files of the repository, which are not on the site, to the pages that show them."""

    def to_page(found: re.Match[str]) -> str:
        path = _outside(page.file.src_uri, found[0])
        depth = len(PurePosixPath(page.file.src_uri).parents) - 1
        return "../" * depth + _source_uri(path) if path else found[0]

    return LINK.sub(to_page, markdown)


def _commands() -> dict[str, Any]:
    """Return the commands by name, as `specter-batch --help` lists them."""
    return dict(get_command(build_app()).commands)  # type: ignore[attr-defined]


def _index_page() -> str:
    rows = [f"| [`{name}`]({name}.md) | {command.help} |" for name, command in _commands().items()]
    return "\n".join(
        [
            "# Commands\n",
            f"For everyone who uses the command line. `{PROGRAM} COMMAND --help` prints the same descriptions. All "
            "commands have the same [exit codes](../exit-codes.md).\n",
            "| command | what it does |",
            "|---|---|",
            *rows,
        ]
    )


def _command_page(name: str) -> str:
    command = _commands()[name]
    options = [option for source in command.callback.sources for option in source.options]
    arguments = [option for option in options if option.option.argument]
    usage = " ".join(option.spelling for option in arguments)
    lines = [f"# `{PROGRAM} {name}`\n", f"{command.help}\n", f"```text\n{PROGRAM} {name} [OPTIONS] {usage}\n```\n"]
    lines += ["## Examples\n", f"```sh\n{_examples(name, command.epilog)}\n```\n", "## Arguments\n"]
    lines += ["| argument | meaning |", "|---|---|"]
    lines += [f"| `{option.spelling}` | {_cell(option.help)} |" for option in arguments]
    for panel in dict.fromkeys(option.panel for option in options if option not in arguments):
        lines += [f"\n## {panel}\n", "| option | meaning | default |", "|---|---|---|"]
        shown = (option for option in options if option.panel == panel and option not in arguments)
        lines += [f"| {_spelling(option)} | {_meaning(option)} | {_default(option)} |" for option in shown]
    return "\n".join(lines) + "\n"


def _settings_page() -> str:
    lines = [
        "# Configuration files\n",
        "For people who keep their settings in a file. `--config FILE` reads settings from a TOML file. "
        "An option on the command line overrides the file. A key that does not exist is refused. "
        "Every key below is also an option of the commands: its name has dashes there.\n",
    ]
    for title, commands, settings, example in FILES:
        lines += [f"## {title}\n", f"For `{commands}`. [An example with reasons]({example}).\n"]
        lines += _table([option for option in declared_options(settings) if len(option.path) == 1])
        lines += _invalidating() if settings is NightConfig else []
        for section in dict.fromkeys(option.path[0] for option in declared_options(settings) if len(option.path) > 1):
            lines += [f"\n### Section `[{section}]`\n"]
            lines += _table([option for option in declared_options(settings) if option.path[0] == section])
    lines += ["\n### Section `[head]`\n", *_table(list(declared_options(HeadConfig)))]
    lines += ["\n## A recipe of `export`\n", "A file for `--recipe`. [An example](../export/recipes/cpu-int8.toml).\n"]
    lines += _table(list(declared_options(Recipe)))
    return "\n".join(lines) + "\n"


def _invalidating() -> list[str]:
    """List the settings that invalidate finished labels, as declared in their sections."""
    names = ", ".join(f"`{name}`" for section in (LabelRules, Reading) for name in section.model_fields)
    return [
        f"A change of one of these settings invalidates finished labels: {names}. So does another bundle, `graph` or "
        "kind of device. Such a run in the same OUT is refused. With `--replace` it labels all papers again.\n"
    ]


def _table(options: list[DeclaredOption]) -> list[str]:
    rows = [
        f"| `{option.name}` | {_toml_type(option)} | {_toml_default(option)} | {_cell(option.option.unit or '')} | "
        f"{_cell(str(option.field.description))} |"
        for option in options
    ]
    return ["| key | type | default | unit | meaning |", "|---|---|---|---|---|", *rows, ""]


def _toml_type(option: DeclaredOption) -> str:
    kind = TOML_TYPES.get(option.metavar, "text")
    if option.choices:
        kind = "one of " + ", ".join(f'`"{choice}"`' for choice in option.choices)
    kind += f", {option.range}" if option.range else ""
    return f"list of {kind}" if option.is_repeated else kind


def _spelling(option: DeclaredOption) -> str:
    negative = f"<br>`--no-{option.spelling.removeprefix('--')}`" if option.is_flag and option.option.negative else ""
    return _cell(f"`{f'{option.spelling} {option.metavar}'.strip()}`") + negative


def _meaning(option: DeclaredOption) -> str:
    limits = f"one of {', '.join(option.choices)}" if option.choices else option.range
    return _cell(f"{option.field.description}{f' ({limits})' if limits else ''}")


def _default(option: DeclaredOption) -> str:
    return "required" if option.default is None else _cell(option.default)


def _toml_default(option: DeclaredOption) -> str:
    if option.is_flag:
        return "true" if option.default == "yes" else "false"
    return _default(option)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _examples(name: str, own: str) -> str:
    """Return the command's own examples and the lines of README and tutorial that use it, each once."""
    lines = own.splitlines() + [line for page in EXAMPLES for line in page.read_text().splitlines()]
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(f"{PROGRAM} {name} ")))


def _outside(page: str, target: str) -> PurePosixPath | None:
    """Return the path in the repository of a link's target, if it is a file that lies outside this folder."""
    path = (DOCS / page).parent.joinpath(target).resolve()
    return PurePosixPath(path.relative_to(ROOT)) if path.is_file() and not path.is_relative_to(DOCS) else None


def _source_uri(path: PurePosixPath) -> str:
    return f"source/{path}.md"


def _source_page(path: PurePosixPath) -> str:
    try:
        language = get_lexer_for_filename(path.name).aliases[0]
    except ClassNotFound:
        language = "text"
    return f"# `{path}`\n\n````{language}\n{(ROOT / path).read_text()}````\n"
