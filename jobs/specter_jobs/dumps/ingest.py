"""Convert a public dump to papers parquet, with a list of rejects and an account of every record.

`_SUCCESS` is written last.
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from specter_batch.display import storable
from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.inputs import InputInventory, take_inventory
from specter_batch.papers.parquet import write_table
from specter_batch.start import sigterm_interrupts
from specter_batch.storage.files import json_hash, write_json, write_text, written_whole
from specter_batch.storage.location import is_remote, located
from specter_batch.storage.output_claim import output_command
from specter_batch.terminal import print_above, progress_bars
from specter_jobs.dumps.account_model import IngestAccount, RequestDescription
from specter_jobs.dumps.identity import IngestIdentity, begin
from specter_jobs.dumps.ingest_unit import IngestTask, IngestUnit, Outcome, Work, output_name, run_unit, run_units
from specter_jobs.dumps.inputs import dump_kind, in_order, silent
from specter_jobs.dumps.ledger import IngestLedger, account_of, warnings_of
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.record_output import DUMP_SCHEMA
from specter_jobs.dumps.records import ReadOptions
from specter_jobs.output.folder import output_folder
from specter_jobs.output.names import (
    ACCOUNT_FILE,
    INDEX,
    INGEST,
    INGEST_SCRATCH,
    NO_PAPERS_FILE,
    PAPERS,
    REJECTS,
    SUCCESS_FILE,
)

EXIT_FILES_FAILED = 3
# Increase this number when the same dump and options give other output files than in an earlier version.
OUTPUT_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """The options of an ingest.

    Attributes:
        format: Format of the dump.
        source: File, folder or glob of the dump.
        out: Folder for papers, rejects, the account and the ledger.
        writes: Folder that the calling command writes, if `out` is inside it. It is not part of the dump, and the
            calling command decides what may be replaced there.
        replace: True to allow finished papers of another ingest in `out` to be replaced.
        label: Name of the field that becomes the label, `none`, or None for the format's default.
        years: First and last year to keep; either may be None for no limit.
        workers: Number of files to read at the same time.
    """

    format: Format
    source: str
    out: Path
    writes: Path | None = None
    replace: bool = False
    label: str | None = None
    years: tuple[int | None, int | None] | None = None
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """The result of an ingest: the content of `ingest.json` and the exit code (0 or `EXIT_FILES_FAILED`)."""

    account: IngestAccount
    exit_code: int


def ingest(request: IngestRequest, *, console: Console) -> IngestResult:
    """Convert a dump to papers parquet.

    Files that an earlier run finished with the same content and options are kept. A file that fails is reported, and
    the other files are still converted.

    Args:
        request: Options of the ingest.
        console: Console for progress; nothing is printed to standard output.

    Raises:
        SpecterBatchError: The ingest could not start, would replace papers of another ingest, or found no file of the
            format.
        KeyboardInterrupt: The user pressed Ctrl-C, or SIGTERM arrived. Finished files are kept.
    """
    began = time.monotonic()
    options = ReadOptions(label=request.format.label(request.label), years=request.years)
    inventory = _inventory(request)
    units, unnumbered = _units(inventory, request.format)
    folder, out = output_folder(request.out), _claim(request.out)
    task = IngestTask(format=request.format, options=options, out=out, binding=_binding(request.format, options))
    with folder.locked(), sigterm_interrupts():
        ledger = IngestLedger(folder, binding=task.binding)
        identity = IngestIdentity.of(str(located(request.source)), request.format, options)
        part = request.writes is not None
        names = {unit.name for unit in units}
        begun = begin(
            out,
            identity,
            held=ledger.papers_held(),
            has_other_options=ledger.has_other_options,
            units=names,
            replace=request.replace or part,
        )
        (out / SUCCESS_FILE).unlink(missing_ok=True)
        for left in out.glob(f"{INGEST_SCRATCH}*"):
            shutil.rmtree(left)  # left behind by a killed run
        fresh, failed = _read(units, task, ledger, workers=request.workers, console=console)
        good = [unit for unit in units if unit.name not in failed]
        if not good and all(outcome.wrong_format for outcome in failed.values()):
            first = next(failed[unit.name].error for unit in units)
            raise PaperSchemaError(f"{units[0].name}: {first}")
        failed |= _resolve(good, task, ledger)
        entries = [ledger.entries[unit.name] for unit in units if unit.name not in failed]
        begun.take_over()
        strangers = ledger.remove_strangers(entries, ours={output_name(name) for name in begun.record.units})
        if not any(entry.papers for entry in entries):
            # Programs that read the folder find the same columns as in a folder with papers.
            with written_whole(out / PAPERS / NO_PAPERS_FILE) as partial:
                write_table(partial, DUMP_SCHEMA.empty_table())
        errors = {unit.name: str(failed[unit.name].error) for unit in units if unit.name in failed}
        errors |= inventory.failed
        removed = [] if part else begun.removed(names | inventory.failed.keys())
        account = account_of(
            _described(request, options),
            entries,
            errors,
            ignored=inventory.ignored,
            fresh=fresh,
            seconds=time.monotonic() - began,
            warnings=[*warnings_of(unnumbered, entries), *removed, *strangers],
        )
        for warning in account.warnings:
            print_above(console, f"warning: {warning}", style="yellow")
        write_json(out / ACCOUNT_FILE, account.model_dump(mode="json"))
        if not errors:
            write_text(out / SUCCESS_FILE, "")
    return IngestResult(account=account, exit_code=EXIT_FILES_FAILED if errors else 0)


def _inventory(request: IngestRequest) -> InputInventory:
    """Find the dump's files.

    Raises:
        ConfigError: The dump is in an object store.
        PaperSchemaError: The input has no files.
    """
    if is_remote(place := located(request.source)):
        raise ConfigError(f"{place}: ingest reads from a local disk; copy the dump there and give that folder")
    kind = dump_kind(request.format.reader().suffixes, what=request.format.name)
    return take_inventory(place, kind, out=request.writes or request.out)


def _units(inventory: InputInventory, format_: Format) -> tuple[list[IngestUnit], list[str]]:
    """Return the units from the oldest to the newest, and the names of the files that have no number."""
    inputs = [(file.name, file.path) for file in inventory.files if isinstance(file.path, Path)]
    files, unnumbered = in_order(inputs, format_.reader())
    root = Path(str(inventory.root))
    if format_.joined:
        return [IngestUnit(name=format_.name, root=root, paths=tuple(path for _, path in files))], unnumbered
    partitions = {file.name: file.partitions for file in inventory.files}
    units = [IngestUnit(name=name, root=root, paths=(path,), partitions=partitions[name]) for name, path in files]
    return units, unnumbered


def _claim(out: Path) -> Path:
    """Create the output folder and mark it as an ingest's; the same call succeeds again after a kill at any point.

    Raises:
        ConfigError: The folder exists and is not the output of an ingest.
    """
    if output_command(out) is None:
        # Only the empty folders of an interrupted start are accepted, so no other program's papers are overwritten.
        for kind in (PAPERS, REJECTS, INDEX):
            held = (out / kind).iterdir() if (out / kind).is_dir() else (out / kind,)
            if (other := next((path for path in held if path.exists()), None)) is not None:
                raise ConfigError(
                    f"{out}: is not the output of an ingest, and {other} is in it; give another folder, nothing was "
                    "changed"
                )
    output_folder(out).prepare(INGEST, (PAPERS, REJECTS, INDEX))
    return out


def _binding(format_: Format, options: ReadOptions) -> str:
    return json_hash(
        {
            "output_version": OUTPUT_VERSION,
            "format": format_.name,
            "columns": format_.columns.candidates() if format_.name in ("jsonl", "csv") else None,
            "layout": asdict(format_.layout),
            "label": options.label,
            "years": options.years,
        }
    )


def _read(
    units: Sequence[IngestUnit], task: IngestTask, ledger: IngestLedger, *, workers: int, console: Console
) -> tuple[set[str], dict[str, Outcome]]:
    """Read the units; return the names of the units that this run converted, and the outcomes of failed units."""
    fresh: set[str] = set()
    failed: dict[str, Outcome] = {}
    work: list[Work] = []
    for unit in units:
        entry = ledger.finished(unit.name)
        work.append((unit, entry.content if entry else None))
    with _progress(console) as progress:
        total = sum(unit.size for unit in units)
        bar = progress.add_task(task.format.name, total=total)

        def advance(size: int) -> None:
            progress.update(bar, advance=size)

        def warn(line: str) -> None:
            print_above(progress.console, f"warning: {line}", style="yellow")

        for outcome in run_units(work, partial(run_unit, task), workers=workers, advance=advance, warn=warn):
            if outcome.error is not None:
                failed[outcome.unit.name] = outcome
                if len(units) > 1:  # with a single file, its error is already the result of the command
                    print_above(progress.console, f"failed: {outcome.unit.name}: {outcome.error}", style="red")
            elif outcome.entry is not None:
                ledger.commit(outcome.entry)
                fresh.add(outcome.unit.name)
    return fresh, failed


def _resolve(units: Sequence[IngestUnit], task: IngestTask, ledger: IngestLedger) -> dict[str, Outcome]:
    """Move superseded and deleted papers to the rejects; return the outcomes of units that failed in this step."""
    if not any(ledger.entries[unit.name].index for unit in units):
        return {}
    # Imported here because duckdb takes longer to load than a small dump takes to read, and most formats have no
    # versions of papers.
    from specter_jobs.dumps.newest import already_taken, losers_by_unit, take_out, wanted_out

    failed: dict[str, Outcome] = {}
    scratch = Path(tempfile.mkdtemp(prefix=INGEST_SCRATCH, dir=task.out))
    try:
        entries = [ledger.entries[unit.name] for unit in units]
        for unit, entry, losers in losers_by_unit(units, entries, out=task.out, scratch=scratch):
            taken, wanted = already_taken(entry, out=task.out), wanted_out(losers)
            if taken == wanted:
                continue
            ledger.reopen(entry)
            if not taken.keys() <= wanted.keys():  # the record that replaced a paper is gone: read the file again
                outcome = run_unit(task, unit, None, silent)
                if outcome.entry is None:
                    failed[unit.name] = outcome
                    continue
                entry, taken = outcome.entry, {}
            ledger.commit(take_out(unit, entry, losers, taken, out=task.out))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return failed


def _described(request: IngestRequest, options: ReadOptions) -> RequestDescription:
    return RequestDescription(
        format=request.format.name,
        input=storable(request.source),
        label=options.label,
        years=options.years,
        workers=request.workers,
    )


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return progress_bars(console, *columns, TimeRemainingColumn())
