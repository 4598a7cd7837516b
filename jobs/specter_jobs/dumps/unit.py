"""One input file's way from its records to papers and rejects, with an account of every record."""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from specter_batch.errors import PaperSchemaError, ShardError
from specter_jobs.dumps.files.inputs import Advance, InputCount, content_of, opened, silent
from specter_jobs.dumps.folder_labels import folder_label, with_label, without_folder_label
from specter_jobs.dumps.formats import Format
from specter_jobs.dumps.ledger import IngestEntry
from specter_jobs.dumps.readers.joined import joined_content, joined_records
from specter_jobs.dumps.record_sorter import Record, RecordSorter
from specter_jobs.dumps.record_writer import INDEX, PAPERS, REJECTS, RecordWriter
from specter_jobs.dumps.records import ReadOptions, WrongFormatError


@dataclass(frozen=True, kw_only=True)
class IngestUnit:
    """What is ingested in one piece: an input file, or all files of a join.

    Attributes:
        name: The stored name of the file, its path below the input's root; of a join the format's name.
        root: The folder that files are named relative to.
        paths: The file, or the files.
        partitions: Columns that the names of the file's folders give.
    """

    name: str
    root: Path
    paths: tuple[Path, ...]
    partitions: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def output_name(self) -> str:
        """The name of its output files."""
        return output_name(self.name)


def output_name(unit: str) -> str:
    """Return the name of a unit's output files: readable, safe as a file name, and unique by the hash of the path."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(unit).name.partition(".")[0]).lstrip("._")[:60]
    digest = hashlib.blake2b(unit.encode(), digest_size=6).hexdigest()
    return f"{readable or 'papers'}-{digest}"


@dataclass(frozen=True, kw_only=True)
class IngestTask:
    """What to do with every unit; travels to the worker processes."""

    format: Format
    options: ReadOptions
    out: Path
    binding: str


def ingest_unit(
    unit: IngestUnit, task: IngestTask, advance: Advance, *, known: str | None = None
) -> IngestEntry | None:
    """Turn one unit into output files; on any error none of them is left.

    Args:
        unit: What to read.
        task: How.
        advance: Told the bytes on disk as they are read.
        known: The content hash it was already ingested with; if that is still so, nothing is done.

    Returns:
        Its line for the ledger, or None where it is still the known content.

    Raises:
        PaperSchemaError: It is not of this format.
        OSError: It cannot be read.
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
        # A file that was hashed to see whether it is still the same was counted then.
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
            f"{entry.accounted} records accounted for of {entry.records}; the file was dropped, please report this"
        )
    return entry


@contextmanager
def _records(unit: IngestUnit, task: IngestTask, count: InputCount, advance: Advance) -> Iterator[Iterator[Record]]:
    if task.format.joined:
        with joined_records(unit.root, unit.paths, task.out, task.options, count, advance) as records:
            yield records
        return
    with opened(unit.paths[0], count, advance, encoding=task.format.layout.encoding) as stream:
        reader = without_folder_label(task.format, unit.partitions).reader()
        yield with_label(reader.read(stream, task.options), folder_label(task.format, unit.partitions))


def _content(unit: IngestUnit, task: IngestTask, advance: Advance) -> str:
    contents = [content_of(path, advance) for path in unit.paths]
    return joined_content(contents) if task.format.joined else contents[0]
