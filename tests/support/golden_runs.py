"""The commands of the golden nights and ingests, and what is kept of each: rows, report, exit code and log events."""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from specter_batch.cli import build_app

GOLDEN = Path(__file__).parents[1] / "golden"
BUNDLE, INPUTS, EXPECTED = GOLDEN / "bundle_v1", GOLDEN / "inputs_v1", GOLDEN / "runs_v1"

_CPU = ("--bundle", "bundle", "--device", "cpu", "--precision", "fp32", "--threads", "1", "--workers", "1")
# Run in this order: the second night reads the first one. Its third file is damaged.
NIGHTS = {
    "first-night": (
        *("classify", "papers/part-0.parquet", "first-night", *_CPU, "--date", "2026-11-25"),
        *("--shard-rows", "15", "--probabilities"),
    ),
    "second-night": (
        *("classify", "papers", "second-night", *_CPU, "--date", "2026-11-26", "--probabilities"),
        *("--reuse", "first-night", "--previous", "first-night"),
    ),
    "gated-night": (
        *("classify", "papers/part-1.parquet", "gated-night", *_CPU, "--date", "2026-11-25"),
        *("--missing-abstract", "title_only", "--language", "any", "--min-macro-f1", "0.999", "--max-reject-rate", "0"),
    ),
}
INGESTS = {
    f"ingest-{name}": ("ingest", name, f"dumps/{name}", f"ingest-{name}", "--workers", "1", *more)
    for name, more in {
        "arxiv": ("--label", "archive", "--year", "2012:"),
        "crossref": (),
        "csv": ("--year-column", "when"),
        "jsonl": (),
        "openalex": (),
        "pubmed": ("--label", "mesh"),
        "s2ag": (),
        "s2orc": (),
        "scidocs": (),
    }.items()
}
# Fields that the clock decides, and hashes of files that differ with the version of pyarrow.
_UNSTEADY = {"time", "seconds", "model_seconds", "mb_per_second", "compressed_mb_per_second", "sha256"}
# Texts that quote pyarrow and other libraries, whose messages change with their versions.
_QUOTING = {"error", "failed_shards", "failed_files"}


def record_all(folder: Path, commands: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, Any]:
    """Run the commands in a folder, one after the other, and return by name what is kept of each."""
    folder.mkdir()
    shutil.copytree(BUNDLE, folder / "bundle")
    shutil.copytree(INPUTS, folder, dirs_exist_ok=True)
    with contextlib.chdir(folder):
        return {name: _record(Path(name), command) for name, command in commands}


def _record(out: Path, command: tuple[str, ...]) -> dict[str, Any]:
    done = CliRunner().invoke(build_app(), command)
    account = out / ("report.json" if command[0] == "classify" else "ingest.json")
    assert account.exists(), done.output
    return {
        "command": list(command),
        "pyarrow": pa.__version__,
        "exit_code": done.exit_code,
        "events": [_steady(json.loads(line)) for line in done.stderr.splitlines() if line.startswith("{")],
        account.stem: _steady(json.loads(account.read_text())),
        "files": sorted(path.relative_to(out).as_posix() for path in out.rglob("*")),
        "tables": {path.relative_to(out).as_posix(): _table(path) for path in sorted(out.rglob("*.parquet"))},
    }


def _steady(value: Any) -> Any:
    """Return a value of a log event or a report without what the clock or a library's version decides."""
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if name not in _UNSTEADY}
        return {
            name: (sorted(item) if isinstance(item, dict) else item is not None) if name in _QUOTING else _steady(item)
            for name, item in kept.items()
        }
    return [_steady(item) for item in value] if isinstance(value, list) else value


def _table(path: Path) -> dict[str, Any]:
    table = pq.read_table(path, partitioning=None)
    metadata = {name.decode(): text.decode() for name, text in (table.schema.metadata or {}).items()}
    return {
        "columns": {field.name: f"{field.type}{'' if field.nullable else ' not null'}" for field in table.schema},
        "metadata": metadata,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": [[_without_quotes(name, value) for name, value in row.items()] for row in table.to_pylist()],
    }


def _without_quotes(column: str, value: Any) -> Any:
    return re.sub(r" \(.*\)", " (…)", value) if column == "detail" and value else value


def write_recording(recorded: dict[str, Any], path: Path) -> None:
    """Write what is kept of a command, a row a line."""
    tables = {
        name: {**table, "rows": [_line(row) for row in table["rows"]]} for name, table in recorded["tables"].items()
    }
    events = [_line(event) for event in recorded["events"]]
    text = json.dumps({**recorded, "events": events, "tables": tables}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_recording(path: Path) -> dict[str, Any]:
    """Read what `write_recording` wrote."""
    recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    recorded["events"] = [json.loads(line) for line in recorded["events"]]
    for table in recorded["tables"].values():
        table["rows"] = [json.loads(line) for line in table["rows"]]
    return recorded


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
