"""What mkdocs adds to the pages of this folder: a page per command, and one per file of the repository linked to.

Both are made from what they show, so they cannot fall behind it. The commands' pages are those of Typer's own
`typer utils docs`, one command a page, with the lines of the README and the tutorial that use it.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from typer.cli import get_docs_for_click
from typer.main import get_command

from specter_batch.cli import build_app

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PROGRAM = "specter-batch"
# In the order of the road, which is that of the examples too.
EXAMPLES = (ROOT / "README.md", DOCS / "tutorial.md")
LINK = re.compile(r"(?<=\]\()(?:\.\./)+[^)#\s]+")


def on_config(config: MkDocsConfig) -> None:
    """Put the commands' pages into the navigation."""
    for section in config.nav or []:
        if "Commands" in section:
            section["Commands"] += [{name: f"commands/{name}.md"} for name in _commands()]


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add the pages that no file of this folder holds."""
    pages = {"commands/index.md": _index_page()} | {f"commands/{name}.md": _command_page(name) for name in _commands()}
    for file in files.documentation_pages():
        for target in LINK.findall(file.content_string):
            path = _outside(file.src_uri, target)
            if path:
                pages[_source_uri(path)] = _source_page(path)
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links to files of the repository, which the site does not hold, to the pages that show them."""

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
            f"`{PROGRAM} COMMAND --help` prints what these pages say. [Exit codes](../operations.md#exit-codes) are "
            "the same for all.\n",
            "| command | what it does |",
            "|---|---|",
            *rows,
        ]
    )


def _command_page(name: str) -> str:
    command = _commands()[name]
    context = typer.Context(command, info_name=name)
    page = get_docs_for_click(obj=command, ctx=context, name=name, call_prefix=PROGRAM)
    examples = _examples(name)
    return page + (f"**Examples**:\n\n```sh\n{examples}\n```\n" if examples else "")


def _examples(name: str) -> str:
    """Return the lines of README and tutorial that use a command, each once."""
    lines = [line for page in EXAMPLES for line in page.read_text().splitlines()]
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
