"""Whether an output folder is what its night says it is: counts, schemas, hashes, nothing missing, nothing extra."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from specter_batch.bundle import file_sha256
from specter_batch.errors import ConfigError
from specter_jobs.inventory import Inventory, read_inventory
from specter_jobs.ledger import LEDGER_FILE, LedgerEntry, read_entries
from specter_jobs.lock import holder
from specter_jobs.rejects import REJECT_SCHEMA
from specter_jobs.writer import LABELS, REJECTS, OutputFile

# The columns that every label file holds; others are allowed when all files hold them.
LABEL_COLUMNS: Mapping[str, pa.DataType] = {
    "paper_id": pa.string(),
    "label": pa.string(),
    "label_id": pa.int32(),
    "score": pa.float64(),
    "text_hash": pa.string(),
    "reused": pa.bool_(),
}


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at, and what differs from what the night says.

    Attributes:
        notes: What could not be compared, and is no difference.
    """

    shards: int
    files: int
    rows: int
    differences: Sequence[str]
    notes: Sequence[str]


def verify_night(out: Path) -> Verification:
    """Check every output file of a night against its ledger, its plan, its report and its input.

    Raises:
        ConfigError: The folder is no output of this job, or a job is at work on it.
    """
    by = holder(out)
    if by is not None:
        raise ConfigError(f"{out}: {by} is at work on it; verify it when it is done")
    inventory = read_inventory(out)
    newest = {e.shard: e for e in read_entries(out / LEDGER_FILE) if e.binding == inventory.binding}
    entries = [newest[name] for name in inventory.shards if name in newest]
    input_differences, notes = _check_input(inventory)
    differences = [
        *(f"{name}: is in the plan and not in the ledger; run the night again" for name in _missing(inventory, newest)),
        *(difference for entry in entries for difference in _check_shard(out, entry, inventory)),
        *_check_schemas_agree(out, entries),
        *_check_strangers(out, entries),
        *_check_report(out, inventory, entries),
        *input_differences,
    ]
    files = [file for entry in entries for file in (entry.labels, entry.rejects) if file]
    rows = sum(entry.rows for entry in entries)
    return Verification(shards=len(entries), files=len(files), rows=rows, differences=differences, notes=notes)


def _missing(inventory: Inventory, entries: Mapping[str, LedgerEntry]) -> list[str]:
    return [name for name in inventory.shards if name not in entries]


def _check_shard(out: Path, entry: LedgerEntry, inventory: Inventory) -> Iterator[str]:
    if entry.rows != inventory.shards[entry.shard]:
        yield f"{entry.shard}: {entry.rows} rows in the ledger, {inventory.shards[entry.shard]} in the plan"
    rejected = entry.rejects.rows if entry.rejects else 0
    if entry.labels.rows + rejected != entry.rows or rejected != entry.rejected:
        yield f"{entry.shard}: {entry.labels.rows} rows labelled and {rejected} rejected of {entry.rows}"
    yield from _check_file(out, entry.labels, LABEL_COLUMNS)
    if entry.rejects:
        yield from _check_file(out, entry.rejects, dict(zip(REJECT_SCHEMA.names, REJECT_SCHEMA.types, strict=True)))


def _check_file(out: Path, file: OutputFile, columns: Mapping[str, pa.DataType]) -> Iterator[str]:
    path = out / file.name
    if not path.is_file():
        yield f"{file.name}: is missing"
        return
    found = file_sha256(path)
    if found != file.sha256:
        yield f"{file.name}: SHA-256 {found[:12]}… is not the {file.sha256[:12]}… of the ledger"
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowException, OSError):
        yield f"{file.name}: is no readable parquet file"
        return
    if parquet.metadata.num_rows != file.rows:
        yield f"{file.name}: holds {parquet.metadata.num_rows} rows, {file.rows} by the ledger"
    schema = parquet.schema_arrow
    for name, kind in columns.items():
        held = schema.field(name).type if name in schema.names else None
        if held != kind:
            yield f"{file.name}: column {name} should be {kind}, got {held or 'none'}"


def _check_schemas_agree(out: Path, entries: Sequence[LedgerEntry]) -> Iterator[str]:
    """A reader of the folder takes one file's schema for all."""
    first: tuple[str, pa.Schema] | None = None
    for entry in entries:
        try:
            schema = pq.read_schema(out / entry.labels.name)
        except (pa.ArrowException, OSError):
            continue  # already told
        if first is None:
            first = entry.labels.name, schema
        elif not schema.equals(first[1]):
            yield f"{entry.labels.name}: has other columns than {first[0]}"


def _check_strangers(out: Path, entries: Sequence[LedgerEntry]) -> Iterator[str]:
    known = {file.name for entry in entries for file in (entry.labels, entry.rejects) if file}
    for kind in (LABELS, REJECTS):
        for path in sorted((out / kind).glob("*")):
            name = path.relative_to(out).as_posix()
            if name not in known:
                yield f"{name}: belongs to no shard of the ledger"


def _check_report(out: Path, inventory: Inventory, entries: Sequence[LedgerEntry]) -> Iterator[str]:
    try:
        report = json.loads((out / "report.json").read_bytes())
    except FileNotFoundError:
        yield "report.json: is missing; the night did not come to its end, run it again"
        return
    except ValueError as error:
        yield f"report.json: is no JSON ({error})"
        return
    rejects: Counter[str] = Counter()
    for entry in entries:
        rejects.update(entry.rejects_by_reason)
    rows = report["rows"]
    counted: dict[str, tuple[Any, Any]] = {
        "rows in": (rows["in"], inventory.rows),
        "rows labelled": (rows["labelled"], sum(entry.labels.rows - entry.reused for entry in entries)),
        "rows reused": (rows["reused"], sum(entry.reused for entry in entries)),
        "rows rejected": (rows["rejected"], sum(rejects.values())),
        "rejects by reason": (report["rejects_by_reason"], dict(sorted(rejects.items()))),
        "papers by label": (list(report["label_papers"].values()), _label_papers(report, entries)),
        "rows of all outcomes": (sum(rows[name] for name in ("labelled", "reused", "rejected", "failed")), rows["in"]),
    }
    for what, (told, found) in counted.items():
        if told != found:
            yield f"report.json: {what}: {told} in the report, {found} found"
    for name, reason in report["failed_shards"].items():
        yield f"{name}: failed ({reason}); run the night again"
    kept = not report["failed_shards"] and all(gate["passed"] for gate in report["gates"])
    if kept != (out / "_SUCCESS").exists():
        yield "_SUCCESS: is missing, though nothing failed" if kept else "_SUCCESS: is there, though something failed"


def _label_papers(report: Mapping[str, Any], entries: Sequence[LedgerEntry]) -> list[int]:
    if not entries:
        return [0] * len(report["labels"])
    return [sum(counts) for counts in zip(*(entry.label_papers for entry in entries), strict=True)]


def _check_input(inventory: Inventory) -> tuple[list[str], list[str]]:
    """Compare the input's footers, where the input is still there."""
    differences, gone = [], 0
    for name, rows in inventory.files.items():
        path = inventory.root / name
        if not path.is_file():
            gone += 1
            continue
        try:
            found = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError):
            differences.append(f"input {name}: is no longer readable")
            continue
        if found != rows:
            differences.append(f"input {name}: holds {found} rows now, {rows} when the night ran")
    total = len(inventory.files)
    return differences, [f"{gone} of {total} input files are gone and were not compared"] if gone else []
