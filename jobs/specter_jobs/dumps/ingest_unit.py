"""Convert the records of one input file to papers and rejects, with an account of every record."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from specter_batch.display import storable
from specter_batch.errors import PaperSchemaError, ShardError, SpecterBatchError, WrongFormatError
from specter_jobs.dumps.account import IngestEntry
from specter_jobs.dumps.files.inputs import Advance, InputCount, content_of, joined_content, opened, silent
from specter_jobs.dumps.formats import Format
from specter_jobs.dumps.record_sorter import Record, RecordSorter
from specter_jobs.dumps.record_writer import RecordWriter
from specter_jobs.dumps.records import JoiningReader, PaperRecord, ReadOptions
from specter_jobs.dumps.unit import IngestUnit, Outcome
from specter_jobs.output.names import INDEX, PAPERS, REJECTS

# Maximum length of an error message. A message can quote a long text from the file; the advice is at its end.
LINE_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class IngestTask:
    """The settings that are the same for every unit; sent to the worker processes."""

    format: Format
    options: ReadOptions
    out: Path
    binding: str


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
