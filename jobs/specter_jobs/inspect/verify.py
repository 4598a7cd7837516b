"""Check an output folder against the records of its night: counts, schemas, hashes, missing files, extra files."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from specter_batch.errors import ConfigError, PaperSchemaError, StorageError
from specter_batch.file_problems import file_problem
from specter_batch.papers.parquet import open_parquet
from specter_batch.storage.location import Location, in_parallel, is_remote
from specter_jobs.inspect.status import failed_gate_lines
from specter_jobs.output.folder import OutputFolder, output_folder
from specter_jobs.output.label_check import CHECKED, check_rows
from specter_jobs.output.ledger import read_entries
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import MANIFEST_FILE, REPORT_FILE, REPORT_HTML, REPORT_MARKDOWN, SUCCESS_FILE, OutputFile
from specter_jobs.output.plan_file import PlanFile, listed_files, read_plan
from specter_jobs.output.report_model.audit import AuditCounts
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.output.schema import FORMER_LABEL_SCHEMA, LABEL_SCHEMA, REJECT_SCHEMA, missing_columns

# Values in place of a row count: the file is gone, or its store or disk cannot be reached.
GONE, AWAY = -1, -2


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The checked files, and the differences from the records of the night.

    Attributes:
        notes: Sentences about things that could not be compared. They are not differences.
        failed_gates: Gates that failed, so the night has no `_SUCCESS`. The files can still be right.
    """

    shards: int
    files: int
    rows: int
    differences: Sequence[str]
    notes: Sequence[str]
    failed_gates: Sequence[str]


def verify_night(place: Location) -> Verification:
    """Check every output file of a night against its ledger, its plan, its report and its input.

    Raises:
        ConfigError: The folder is not an output of this job, or a job is using it.
    """
    out = output_folder(place)
    by = out.holder()
    if by is not None:
        raise ConfigError(f"{out}: {by} is at work in this folder; verify it when the job has ended")
    plan = read_plan(out)
    newest = {e.shard: e for e in read_entries(out) if e.binding == plan.binding}
    entries = [newest[name] for name in plan.shards if name in newest]
    input_differences, notes = _check_input(plan)
    checked = list(in_parallel(lambda entry: _check_shard(out, entry, plan), entries))
    differences = [
        *(["files of two nights: a replacement was interrupted; run its command again"] if out.is_swapping else []),
        *(f"{name}: is in the plan and not in the ledger; run the night again" for name in _missing(plan, newest)),
        *(difference for check in checked for difference in check.differences),
        *_check_schemas_agree(entries, [check.schema for check in checked]),
        *(difference for file in listed_files(plan.dump) for difference in _check_rejects(out, file)),
        *_check_strangers(out, entries, listed_files(plan.dump)),
        *_check_report(out, plan, entries),
        *input_differences,
    ]
    files = [file for entry in entries for file in (entry.labels, entry.rejects) if file]
    files += listed_files(plan.dump)
    rows = sum(entry.rows for entry in entries)
    return Verification(
        shards=len(entries),
        files=len(files),
        rows=rows,
        differences=differences,
        notes=notes,
        failed_gates=failed_gate_lines(out),
    )


def _missing(plan: PlanFile, entries: Mapping[str, LedgerEntry]) -> list[str]:
    return [name for name in plan.shards if name not in entries]


@dataclass(frozen=True, kw_only=True)
class _ShardCheck:
    """The differences of one shard, and the columns of its label file if it can be read."""

    differences: Sequence[str]
    schema: pa.Schema | None


def _check_shard(out: OutputFolder, entry: LedgerEntry, plan: PlanFile) -> _ShardCheck:
    is_former = entry.form is None
    schema = FORMER_LABEL_SCHEMA if is_former else LABEL_SCHEMA
    labels = _check_file(out, entry.labels, schema, read=() if is_former else CHECKED)
    rejects = _check_file(out, entry.rejects, REJECT_SCHEMA, read=("file", "row")) if entry.rejects else None
    differences = [*_check_counts(entry, plan), *labels.differences, *(rejects.differences if rejects else ())]
    if not differences and not is_former and labels.table is not None:
        differences += check_rows(entry, labels.table, rejects.table if rejects else None)
    return _ShardCheck(differences=differences, schema=labels.schema)


def _check_rejects(out: OutputFolder, file: OutputFile) -> Sequence[str]:
    return _check_file(out, file, REJECT_SCHEMA).differences


def _check_counts(entry: LedgerEntry, plan: PlanFile) -> Iterator[str]:
    if entry.rows != plan.shards[entry.shard]:
        yield f"{entry.shard}: {entry.rows} rows in the ledger, {plan.shards[entry.shard]} in the plan"
    rejected = entry.rejects.rows if entry.rejects else 0
    if entry.labels.rows + rejected != entry.rows or rejected != entry.rejected:
        yield f"{entry.shard}: {entry.labels.rows} rows labelled and {rejected} rejected of {entry.rows}"
    elif not entry.adds_up:
        yield f"{entry.shard}: the sums of its ledger entry do not add up; run the night again"


@dataclass(frozen=True, kw_only=True)
class _FileCheck:
    """The differences of one file, and its columns and some of its values if it can be read."""

    differences: Sequence[str]
    schema: pa.Schema | None = None
    table: pa.Table | None = None


def _check_file(out: OutputFolder, file: OutputFile, columns: pa.Schema, *, read: Sequence[str] = ()) -> _FileCheck:
    """Read a complete file once, and the values of the columns `read` that it has."""
    try:
        content = (out / file.name).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return _FileCheck(differences=[f"{file.name}: is missing"])
    differences = []
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        differences.append(f"{file.name}: SHA-256 {sha256[:12]}… is not the {file.sha256[:12]}… of the ledger")
    try:
        parquet = pq.ParquetFile(pa.BufferReader(content))
    except (pa.ArrowException, OSError):
        return _FileCheck(differences=[*differences, f"{file.name}: is no readable parquet file"])
    if parquet.metadata.num_rows != file.rows:
        differences.append(f"{file.name}: holds {parquet.metadata.num_rows} rows, {file.rows} by the ledger")
    schema = parquet.schema_arrow
    for field, held in missing_columns(schema, columns):
        differences.append(f"{file.name}: column {field.name} should be {field.type}, got {held or 'none'}")
    table = None
    if not differences and read:
        try:
            table = parquet.read(columns=[name for name in read if name in schema.names])
        except (pa.ArrowException, OSError) as error:
            differences.append(f"{file.name}: cannot be read ({error})")
    return _FileCheck(differences=differences, schema=schema, table=table)


def _check_schemas_agree(entries: Sequence[LedgerEntry], schemas: Sequence[pa.Schema | None]) -> Iterator[str]:
    """Check that all label files have the same columns, because readers use the columns of one file for all."""
    first: tuple[str, pa.Schema] | None = None
    for entry, schema in zip(entries, schemas, strict=True):
        if schema is None:
            continue  # already reported
        if first is None:
            first = entry.labels.name, schema
        elif not schema.equals(first[1]):
            yield f"{entry.labels.name}: has other columns than {first[0]}"


def _check_strangers(out: OutputFolder, entries: Sequence[LedgerEntry], more: Sequence[OutputFile]) -> Iterator[str]:
    known = {file.name for entry in entries for file in (entry.labels, entry.rejects) if file}
    known |= {file.name for file in more}
    yield from (f"{name}: belongs to no shard of the ledger" for name in sorted(out.sizes()) if name not in known)


def _check_report(out: OutputFolder, plan: PlanFile, entries: Sequence[LedgerEntry]) -> Iterator[str]:
    try:
        content = (out / REPORT_FILE).read_bytes()
        json.loads(content)
        report = NightReport.model_validate_json(content)
    except FileNotFoundError:
        yield f"{REPORT_FILE}: is missing; the night did not come to its end, run it again"
        return
    except ValidationError as error:
        yield f"{REPORT_FILE}: is not the report of a night ({file_problem(error, NightReport)}); run the night again"
        return
    except (ValueError, RecursionError) as error:
        yield f"{REPORT_FILE}: is no JSON ({error})"
        return
    rejects: Counter[str] = Counter(plan.dump.rejects_by_reason if plan.dump else {})
    rows_in = plan.rows + sum(rejects.values())
    for entry in entries:
        rejects.update(entry.rejects_by_reason)
    rows = report.rows
    counted: dict[str, tuple[object, object]] = {
        "rows in": (rows.rows_in, rows_in),
        "rows labelled": (rows.labelled, sum(entry.labels.rows - entry.reused for entry in entries)),
        "rows reused": (rows.reused, sum(entry.reused for entry in entries)),
        "rows rejected": (rows.rejected, sum(rejects.values())),
        "rejects by reason": (report.rejects_by_reason, dict(sorted(rejects.items()))),
        "papers by label": (list(report.label_papers.values()), _label_papers(report, entries)),
        **_audit_counts(report, entries),
        "rows of all outcomes": (sum(rows.outcomes.values()), rows.rows_in),
    }
    for what, (reported, counted_now) in counted.items():
        if reported != counted_now:
            yield f"{REPORT_FILE}: {what}: {reported} in the report, {counted_now} found"
    for name, reason in report.failed_shards.items():
        yield f"{name}: failed ({reason}); run the night again"
    names = out.names()
    if report.schema_version > 1:  # older versions did not write all of them
        missing = [name for name in (REPORT_MARKDOWN, REPORT_HTML, MANIFEST_FILE) if name not in names]
        yield from (f"{name}: is missing; run the night again, which writes it from its labels" for name in missing)
    kept = report.succeeded
    if kept != (SUCCESS_FILE in names):
        yield (
            f"{SUCCESS_FILE}: is missing, though nothing failed"
            if kept
            else f"{SUCCESS_FILE}: is there, though something failed"
        )


def _audit_counts(report: NightReport, entries: Sequence[LedgerEntry]) -> dict[str, tuple[object, object]]:
    """Return the counts of tonight's audit as in the report, and as in the ledger."""
    found = AuditCounts.total(entry.audit for entry in entries if entry.audit)
    reported = AuditCounts.total([report.audit.tonight] if report.audit is not None else [])
    return {
        "papers audited": (reported.papers, found.papers),
        "audited papers with another label": (reported.disagreements, found.disagreements),
        "audited clear papers with another label": (reported.clear_disagreements, found.clear_disagreements),
    }


def _label_papers(report: NightReport, entries: Sequence[LedgerEntry]) -> list[int]:
    if not entries:
        return [0] * len(report.labels)
    # An entry with another number of labels is reported as a separate difference.
    return [sum(counts) for counts in zip_longest(*(entry.label_papers for entry in entries), fillvalue=0)]


def _check_input(plan: PlanFile) -> tuple[list[str], list[str]]:
    """Compare the footers of the input files that still exist."""
    away: list[str] = []

    def rows_now(name: str) -> int | None:
        path = plan.input_path(name)
        if away and is_remote(path):
            return AWAY  # for each file it takes minutes to find out that a store cannot be reached
        try:
            if not path.is_file():
                return GONE
            with open_parquet(path) as parquet:
                return int(parquet.metadata.num_rows)
        except (PaperSchemaError, OSError) as error:
            if isinstance(error, OSError) or isinstance(error.__cause__, PermissionError | StorageError):
                away.append(str(error))
                return AWAY
            return None

    rows_of = dict(zip(plan.files, in_parallel(rows_now, plan.files), strict=True))
    differences = [f"input {name}: is no longer readable" for name, rows in rows_of.items() if rows is None]
    differences += [
        f"input {name}: holds {rows} rows now, {plan.files[name]} when the night ran"
        for name, rows in rows_of.items()
        if rows not in (None, GONE, AWAY, plan.files[name])
    ]
    counts, total = Counter(rows_of.values()), len(plan.files)
    notes = [f"{counts[GONE]} of {total} input files are gone and were not compared"] if counts[GONE] else []
    if away:
        notes.append(f"{counts[AWAY]} of {total} input files cannot be reached and were not compared ({away[0]})")
    return differences, notes
