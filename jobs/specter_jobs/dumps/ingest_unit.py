"""The unit of an ingest (an input file, or all files of a join): its records become papers and rejects.

Every record is accounted for.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from specter_batch.display import storable
from specter_batch.errors import PaperSchemaError, ShardError, SpecterBatchError, WrongFormatError
from specter_jobs.dumps.inputs import Advance, InputCount, content_of, joined_content, opened, silent
from specter_jobs.dumps.ledger import IngestEntry
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.record_output import Record, RecordSorter, RecordWriter
from specter_jobs.dumps.records import JoiningReader, PaperRecord, ReadOptions
from specter_jobs.output.names import INDEX, PAPERS, REJECTS

# Maximum length of an error message. A message can quote a long text from the file; the advice is at its end.
LINE_CHARACTERS = 400
# Starting processes takes a second or two. One process reads this many bytes in that time.
SPAWN_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class IngestUnit:
    """An input file, or all files of a join, which are ingested together.

    Attributes:
        name: Path of the file relative to the input's root. For a join, the format's name.
        root: Folder that file names are relative to.
        paths: Paths of the file, or of the files of a join.
        partitions: Values of the columns that are in the names of the file's folders, by column name.
    """

    name: str
    root: Path
    paths: tuple[Path, ...]
    partitions: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def output_name(self) -> str:
        """The common name of the unit's output files."""
        return output_name(self.name)

    @property
    def size(self) -> int:
        """Size on disk, in bytes."""
        return sum(path.stat().st_size for path in self.paths)


def output_name(unit: str) -> str:
    """Return the name of a unit's output files: readable, safe as a file name, and unique by a hash of the path."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(unit).name.partition(".")[0]).lstrip("._")[:60]
    digest = hashlib.blake2b(unit.encode(), digest_size=6).hexdigest()
    return f"{readable or 'papers'}-{digest}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a unit.

    Attributes:
        unit: Unit that was read.
        entry: New ledger entry of the unit; None if the unit is unchanged or failed.
        error: Error message, or None if the unit did not fail.
        wrong_format: True if the unit failed because it is not of the format.
    """

    unit: IngestUnit
    entry: IngestEntry | None = None
    error: str | None = None
    wrong_format: bool = False


Work = tuple[IngestUnit, str | None]  # a unit, and the content hash of its last ingest
# Reads a unit, given the content hash of its last ingest, and reports the number of bytes read.
Run = Callable[[IngestUnit, str | None, Advance], Outcome]


@dataclass(frozen=True, kw_only=True)
class IngestTask:
    """The settings that are the same for every unit; sent to the worker processes."""

    format: Format
    options: ReadOptions
    out: Path
    binding: str


def run_units(
    work: Sequence[Work], run: Run, *, workers: int, advance: Advance, warn: Callable[[str], None]
) -> Iterator[Outcome]:
    """Yield each unit's outcome as it ends; the output does not depend on the number of processes.

    If there is one worker, one unit or little to do, everything happens in this process.

    Args:
        work: Units, in the order in which to start them.
        run: Function that ingests a unit, in another process if there are several.
        workers: Maximum number of processes.
        advance: Callback that receives the number of bytes read from disk since its last call.
        warn: Callback that receives a line for the user when a worker process dies.
    """
    workers = min(workers, len(work))
    if workers <= 1 or sum(unit.size for unit, _ in work) < SPAWN_BYTES:
        for unit, known in work:
            yield run(unit, known, advance)
        return
    # Imported here because only dumps of several large files are read in worker processes.
    from specter_jobs.dumps.pool import run_in_processes

    yield from run_in_processes(work, run, workers=workers, advance=advance, warn=warn)


def run_unit(task: IngestTask, unit: IngestUnit, known: str | None, advance: Advance) -> Outcome:
    """Ingest a unit and return any error as its outcome, so that the other files are still read."""
    try:
        return Outcome(unit=unit, entry=ingest_unit(unit, task, advance, known=known))
    except WrongFormatError as error:
        return Outcome(unit=unit, error=_line(error), wrong_format=True)
    except (SpecterBatchError, OSError) as error:
        return Outcome(unit=unit, error=_line(error))
    except Exception as error:
        return Outcome(unit=unit, error=f"{type(error).__name__}: {_line(error)}")


def _line(error: Exception) -> str:
    line = " ".join(storable(str(error)).split())
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 100]} … {line[-100:]}"


def ingest_unit(
    unit: IngestUnit, task: IngestTask, advance: Advance, *, known: str | None = None
) -> IngestEntry | None:
    """Convert one unit to output files; if there is an error, no output file is left.

    Args:
        unit: Unit to read.
        task: Settings that are the same for every unit.
        advance: Callback that receives the number of bytes read from disk since its last call.
        known: Content hash of the last ingest of this unit. If it has not changed, nothing is done.

    Returns:
        The unit's entry for the ledger, or None if its content has not changed.

    Raises:
        PaperSchemaError: The unit is not of this format.
        OSError: The unit cannot be read.
    """
    if known is not None and _content(unit, task, advance) == known:
        return None
    began = time.monotonic()
    count = InputCount()
    name = unit.output_name
    with (
        RecordWriter(task.out, PAPERS, name) as papers,
        RecordWriter(task.out, REJECTS, name) as rejects,
        RecordWriter(task.out, INDEX, name) as index,
        # If the file was hashed to find out whether it has changed, its bytes were already counted.
        _records(unit, task, count, advance if known is None else silent) as records,
    ):
        account = RecordSorter(unit.name, task.format.name, task.options, papers=papers, rejects=rejects, index=index)
        try:
            for record in records:
                account.sort(record)
            account.check_format()
        except (PaperSchemaError, ShardError) as error:
            if account.readable or isinstance(error, WrongFormatError):
                raise
            raise WrongFormatError(f"not a file of {task.format.name}: {error}") from error
    entry = IngestEntry(
        unit=unit.name,
        content=count.content,
        binding=task.binding,
        disk_bytes=count.disk_bytes,
        text_bytes=count.text_bytes,
        records=account.records,
        filtered=account.filtered,
        filtered_without_year=account.filtered_without_year,
        tombstones=account.tombstones,
        rejects_by_reason=dict(sorted(account.reasons.items())),
        papers=papers.files,
        rejects=rejects.files,
        index=index.files,
        unusable_labels=account.unusable_labels,
        seconds=round(time.monotonic() - began, 3),
    )
    if entry.accounted != entry.records:
        raise ShardError(
            f"{entry.accounted} of {entry.records} records are accounted for; the file was dropped, please report this"
        )
    return entry


@contextmanager
def _records(unit: IngestUnit, task: IngestTask, count: InputCount, advance: Advance) -> Iterator[Iterator[Record]]:
    reader = task.format.without_folder_label(unit.partitions).reader()
    if isinstance(reader, JoiningReader):
        with reader.joined_records(unit.root, unit.paths, task.out, task.options, count, advance) as records:
            yield records
        return
    with opened(unit.paths[0], count, advance, encoding=task.format.layout.encoding) as stream:
        yield _with_label(reader.read(stream, task.options), task.format.folder_label(unit.partitions))


def _content(unit: IngestUnit, task: IngestTask, advance: Advance) -> str:
    contents = [content_of(path, advance) for path in unit.paths]
    return joined_content(contents) if task.format.joined else contents[0]


def _with_label(records: Iterable[Record], label: str | None) -> Iterator[Record]:
    """Yield the records; a paper without a label gets this label."""
    for record in records:
        if label is not None and isinstance(record, PaperRecord) and record.label is None:
            yield replace(record, label=label)
        else:
            yield record
