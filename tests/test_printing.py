"""Nothing from data reaches a reader except through `specter_batch.terminal`, `specter_batch.display` and the pages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from specter_batch.metrics.scores import label_tables_markdown
from specter_jobs.report.markdown import night_markdown
from support.night_reports import report_of

ROOT = Path(__file__).parents[1]
PACKAGES = ("specter_batch", "export/specter_export", "jobs/specter_jobs")
# The modules that may write to a terminal: the printer, and the log beside a progress bar.
PRINTERS = {"specter_batch/terminal.py", "specter_batch/logs.py"}
# Module -> what it may use of the streams although it prints nothing.
MAY_LOOK = {
    "jobs/specter_jobs/inspect/read.py": {"warnings.warn"},  # a function for Python, where a command has a notice
    "specter_batch/training/cli/surroundings.py": {"sys.stderr"},  # where notices of libraries go
}
WRITERS = {"echo", "secho", "print", "print_exc", "print_exception", "Console", "StreamHandler", "FileHandler", "warn"}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}
HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07",
    "two\nlines | # heading",
    "<script>alert(1)</script>",
    "![x](https://evil.example/x.png)",
    "a\u202eb\x9b2J",
    "caf\udce9",
    "`code` **bold** | pipe",
)


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def writes(path: Path) -> Iterator[str]:
    """Yield each way in which a module could print."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in WRITERS:
                owner = ast.unparse(node.func.value)
                yield f"{owner}.{node.func.attr}"
            elif isinstance(node.func, ast.Name) and node.func.id in {"print", "Console"}:
                yield node.func.id
        elif isinstance(node, ast.Attribute) and node.attr in STREAMS and ast.unparse(node.value) == "sys":
            yield f"sys.{node.attr}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_the_printers_print(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if name not in PRINTERS:
        assert set(writes(path)) - MAY_LOOK.get(name, set()) == set()


def test_the_check_finds_what_it_looks_for(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("print(1); typer.echo(2); console.print(3); sys.stderr.write('4'); x = Console(stderr=True)")
    assert set(writes(file)) == {"print", "typer.echo", "console.print", "sys.stderr", "Console"}


# Markdown


def torn(markdown: str) -> list[str]:
    """Return the lines that begin as a row of a table and do not end as one, or have another number of cells."""
    found, cells = [], 0
    for line in markdown.splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        count = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
        if not line.endswith("|") or (cells and count != cells):
            found.append(line)
        cells = cells or count
    return found


def test_hostile_names_neither_tear_nor_steer_a_night_report() -> None:
    failures = {name: f"cannot be read: {name}" for name in HOSTILE}
    report = report_of(HOSTILE, failed_shards=failures, ignored=dict(failures))
    markdown = night_markdown(report)
    markdown.encode("utf-8")
    assert torn(markdown) == []
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", markdown)
    assert [line for line in markdown.splitlines() if line.startswith("#")] == [
        "# Night report", "## Failed", "## Gates", "## Audit", "## Scores", "## Labels", "## Drift",
        "## Rejects", "## Input that was ignored",
    ]  # fmt: skip
    for markup in (r"(?<!\\)<script", r"(?<!\\)\]\(", r"https://", r"(?<!\\)\*\*bold", r"(?<!\\)`code"):
        assert not re.search(markup, markdown), markup


def test_hostile_names_do_not_tear_the_tables_of_an_evaluation() -> None:
    assert torn(label_tables_markdown(report_of(HOSTILE))) == []
