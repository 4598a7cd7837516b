"""What the commands load: reading a result does not load what made it, and a chain of imports stays short."""

import ast
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from specter_jobs.output.names import PROGRESS_FILE
from specter_jobs.output.progress_file import Progress
from support.papers_on_disk import paper, write_dump
from support.written_nights import Row, write_night

ROOT = Path(__file__).parents[2]
START_UP = ROOT / "benchmarks/versions/start_up.py"
PACKAGES = {"specter_batch": ROOT / "specter_batch", "specter_jobs": ROOT / "jobs/specter_jobs"}
# Where a local folder and a store are told apart; all others ask `specter_batch.storage.location` or an `OutputFolder`.
MAY_ASK = ("specter_batch/storage/", "jobs/specter_jobs/output/")
MOST_LEVELS = 7
MOST_LINES, MOST_MODULES = 300, 14
# Modules of the project that a command loads, packages included.
MOST_UNTIL_SCREENED, MOST_UNTIL_SCREENED_OF_ALL = 150, 700
MOST_OF_STATUS, MOST_OF_INGEST, MOST_OF_LOOKING = 40, 50, 75
# The folders that are machinery: none of the commands below loads a module of them.
# The runtime of the model.
RUNTIME = {"specter_batch.model.session", "specter_batch.model.predictions", "specter_batch.model.tokens.long_text"}
MACHINERY = ("specter_jobs.label", "specter_jobs.screen", "specter_jobs.night", "specter_jobs.estimate")

COUNT = """
import sys
from collections import Counter
from specter_batch.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print("code", end.code)
print("\\n".join(sys.modules))
"""


def sources() -> dict[str, Path]:
    """Return the modules of the core and the job by their full names."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = sources()


def imported(name: str) -> set[str]:
    """Return the modules of the same package that a module imports at its top."""
    found = set()
    for node in ast.parse(MODULES[name].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    # A package is not what is meant where a module of it is.
    inner = {module for module in found if module in MODULES and module.split(".")[0] == name.split(".")[0]}
    return {m for m in inner if m != name and not any(other.startswith(f"{m}.") for other in inner)}


@cache
def chain(name: str) -> tuple[str, ...]:
    """Return the longest chain of imports that begins with a module."""
    return (name, *max((chain(other) for other in imported(name)), key=len, default=()))


def test_no_chain_of_imports_is_longer_than_seven_modules() -> None:
    longest = max((chain(name) for name in MODULES if name.startswith("specter_jobs.")), key=len)
    assert len(longest) <= MOST_LEVELS, " > ".join(longest)


@pytest.mark.parametrize("path", sorted(MODULES.values()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_place_is_told_to_be_in_a_store_in_two_folders_only(path: Path) -> None:
    if path.relative_to(ROOT).as_posix().startswith(MAY_ASK):
        return
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    asked = [ast.unparse(call) for call in calls if ast.unparse(call.func) == "isinstance"]
    assert [call for call in asked if "UrlPath" in call] == []


def loaded_by(*arguments: object) -> set[str]:
    """Run a command in a process of its own and return the modules of the project that it loads."""
    command = [sys.executable, "-c", COUNT, *map(str, arguments)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line for line in lines if line.split(".")[0] in ("specter_batch", "specter_jobs", "specter_export")}


def machinery(names: set[str], folders: tuple[str, ...] = MACHINERY) -> set[str]:
    """Return the modules that belong to the machinery of a night or to the runtime of the model."""
    return {name for name in names if name in RUNTIME or name.startswith(folders)}


def started_night(out: Path) -> Path:
    """Lay what a night leaves that has only begun."""
    out.mkdir(parents=True, exist_ok=True)
    progress = Progress(process="process 7 on far-away", started=0.0, updated=1.0, rows=10, shards=2)
    (out / PROGRESS_FILE).write_text(progress.model_dump_json())
    return out


def test_the_first_papers_are_screened_before_what_they_do_not_need_is_loaded(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(5)])
    words = [START_UP, "--one", 0, "classify", dump, tmp_path / "out", "--bundle", tiny_bundle, "--device", "cpu"]
    command = [sys.executable, *map(str, words)]
    names = set(json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["modules"])
    assert {"specter_jobs.label.prepare", "pyarrow", "duckdb"} <= names
    assert find_spec("pandas")  # else this test shows nothing about it
    later = ("pandas", "jinja2", "ray", "torch", "transformers", "sklearn", "langdetect", "requests", "fsspec")
    assert names & set(later) == set()
    unused = ("specter_jobs.report.html", "specter_jobs.dumps.ingest", "specter_jobs.inspect", "specter_jobs.estimate")
    assert [name for name in names if name.startswith(unused)] == []
    ours = {name for name in names if name.split(".")[0] in ("specter_batch", "specter_jobs")}
    assert len(ours) <= MOST_UNTIL_SCREENED, sorted(ours)
    assert len(names) <= MOST_UNTIL_SCREENED_OF_ALL, sorted(names)


def test_status_loads_no_more_than_forty_modules(tmp_path: Path) -> None:
    names = loaded_by("status", started_night(tmp_path))
    assert "specter_jobs.inspect.status" in names
    assert machinery(names) == set()
    assert len(names) <= MOST_OF_STATUS, sorted(names)


def test_verify_loads_no_machinery(tmp_path: Path) -> None:
    names = loaded_by("verify", started_night(tmp_path))
    assert "specter_jobs.inspect.verify" in names
    assert machinery(names) == set()


def test_ingest_loads_neither_a_night_nor_the_readers_of_other_formats(tmp_path: Path) -> None:
    dump = tmp_path / "papers.jsonl"
    dump.write_text('{"id": "a", "title": "A title", "abstract": "An abstract."}\n')
    names = loaded_by("ingest", "jsonl", dump, tmp_path / "out")
    assert (tmp_path / "out/_SUCCESS").exists()
    assert machinery(names) == set()
    readers = {name for name in names if name.startswith("specter_jobs.dumps.readers.")}
    assert readers == {"specter_jobs.dumps.readers.jsonl"}
    assert len(names) <= MOST_OF_INGEST, sorted(names)


@pytest.mark.parametrize(
    "words", [("show", "--least-certain", "3"), ("compare",), ("nights",)], ids=lambda words: str(words[0])
)
def test_commands_that_look_into_nights_load_no_machinery(words: tuple[str, ...], tmp_path: Path) -> None:
    night = write_night(tmp_path, {"a.parquet": [Row()]}).out
    command, *options = words
    places = {"show": [night], "compare": [night, night], "nights": [started_night(tmp_path / "nights/one").parent]}
    names = loaded_by(command, *places[command], *options)
    assert f"specter_jobs.inspect.{command}" in names
    assert machinery(names) == set()
    assert len(names) <= MOST_OF_LOOKING, sorted(names)


@pytest.mark.parametrize("top", ["specter_batch", "export", "jobs", "benchmarks", "tests/support"])
def test_modules_and_folders_stay_small(top: str) -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / top).rglob("*.py")}
    assert lines
    assert {str(path): count for path, count in lines.items() if count > MOST_LINES} == {}
    modules = Counter(path.parent for path in lines)
    assert {str(folder): count for folder, count in modules.items() if count > MOST_MODULES} == {}


def test_test_modules_have_different_names() -> None:
    """pytest imports them by name alone, so of two with one name the second one stops a run of both."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name for name, count in names.items() if count > 1} == set()
