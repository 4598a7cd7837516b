"""Decide for every record of a file (paper, reject with a reason, filtered out, or tombstone), and write it to parquet.

An output file has a limited size. It is either complete or absent, and the same rows always give the same bytes.
"""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from specter_batch.errors import WrongFormatError
from specter_batch.papers.columns import PAPER_SCHEMA, normalise_label
from specter_batch.papers.parquet import table_writer
from specter_batch.papers.text import is_missing
from specter_batch.storage.files import file_sha256, written_whole
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions
from specter_jobs.output.names import INDEX, PAPERS, REJECTS, OutputFile, parquet_name

DUMP_SCHEMA = pa.schema([*PAPER_SCHEMA, ("source", pa.string()), ("year", pa.int32())])
DUMP_REJECT_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("position", pa.int64()),
        ("paper_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
# Place of each version of a paper: `part` and `row` of the papers file before superseded papers were removed. Both are
# null for a record that is not a paper, such as a tombstone.
INDEX_SCHEMA = pa.schema(
    [
        ("paper_id", pa.string()),
        ("version", pa.int64()),
        ("deleted", pa.bool_()),
        ("position", pa.int64()),
        ("part", pa.int32()),
        ("row", pa.int32()),
    ]
)
SCHEMAS = {PAPERS: DUMP_SCHEMA, REJECTS: DUMP_REJECT_SCHEMA, INDEX: INDEX_SCHEMA}

FILE_ROWS = 50_000

Reason = Literal[
    "malformed_record", "id_rounded", "null_id", "missing_title", "withdrawn", "deleted", "superseded",
]  # fmt: skip

Record = PaperRecord | MalformedRecord

# If this many first records are all unreadable, the file is of another format, and it fails as a whole.
SAMPLE_RECORDS = 100
DETAIL_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class FileSizes:
    """Maximum sizes of files and row groups.

    One row group is held in memory, so its size is limited both in rows and in characters of text.

    Attributes:
        rows: Maximum number of rows in a file.
        group_rows: Maximum number of rows in a row group.
        group_characters: Number of characters of text after which a row group ends.
    """

    rows: int = FILE_ROWS
    group_rows: int = 10_000
    group_characters: int = 32 << 20


SIZES = FileSizes()


class RecordWriter:
    """Writes one kind of rows of one input file to `OUT/KIND/NAME-00000.parquet` and so on.

    Use it as a context manager: if the block fails, all its files are removed.

    Args:
        out: Path of the output folder.
        kind: Kind of the rows: `PAPERS`, `REJECTS` or `INDEX`.
        name: Name for the output files, safe as a file name and unique to the input file.
        sizes: Maximum sizes of files and row groups.
    """

    def __init__(self, out: Path, kind: str, name: str, *, sizes: FileSizes = SIZES) -> None:
        self.files: list[OutputFile] = []
        self.rows = 0
        self._out, self._kind, self._name, self._sizes = out, kind, name, sizes
        self._schema = SCHEMAS[kind]
        self._rows: list[tuple[Any, ...]] = []
        self._characters = 0
        self._file = ExitStack()
        self._parquet: ParquetWriter | None = None
        self._path = out

    @property
    def place(self) -> tuple[int, int]:
        """The part and row that the next row will have."""
        return divmod(self.rows, self._sizes.rows)

    def add(self, row: tuple[Any, ...], *, characters: int = 0) -> None:
        """Add a row in the order of the schema; `characters` is the size of its texts."""
        self._rows.append(row)
        self.rows += 1
        self._characters += characters
        sizes = self._sizes
        full = len(self._rows) >= sizes.group_rows or self._characters >= sizes.group_characters
        if full or self.rows % sizes.rows == 0:
            self._write_group()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write_group()
            self._finish()
            return
        try:
            self._file.__exit__(kind, error, trace)
        finally:
            for file in self.files:
                (self._out / file.name).unlink(missing_ok=True)

    def _write_group(self) -> None:
        if not self._rows:
            return
        if self._parquet is None:
            self._path = self._out / self._kind / parquet_name(self._name, len(self.files))
            partial = self._file.enter_context(written_whole(self._path))
            self._parquet = self._file.enter_context(table_writer(partial, self._schema))
        values = zip(*self._rows, strict=True)
        columns = [pa.array(column, field.type) for column, field in zip(values, self._schema, strict=True)]
        self._parquet.write_table(pa.table(columns, schema=self._schema))
        self._rows, self._characters = [], 0
        if self.rows % self._sizes.rows == 0:
            self._finish()

    def _finish(self) -> None:
        if self._parquet is None:
            return
        self._parquet = None
        self._file.close()
        rows = (self.rows - 1) % self._sizes.rows + 1
        self.files.append(output_file(self._out, self._path, rows=rows))


def output_file(out: Path, path: Path, *, rows: int) -> OutputFile:
    """Return the ledger's description of a finished output file."""
    name = path.relative_to(out).as_posix()
    return OutputFile(name=name, rows=rows, size=path.stat().st_size, sha256=file_sha256(path))


class RecordSorter:
    """Counts and writes the records of one file.

    A paper without abstract is kept with a null abstract; `classify` decides later whether to label it by its title.

    Attributes:
        records: Number of records so far.
        readable: True if at least one record had an id, which shows that the file is of the format.
        reasons: Number of rejects by reason. The other counts cover the other outcomes.
        unusable_labels: Number of papers that were kept without their label, because it is neither text nor a whole
            number.

    Args:
        file: Name of the input file, written to its rejects.
        source: Name of the format, written to its papers.
        options: Options of the reader.
        papers: Writer of the papers (`DUMP_SCHEMA`).
        rejects: Writer of the rejects (`DUMP_REJECT_SCHEMA`).
        index: Writer of the versions (`INDEX_SCHEMA`), for formats with versions.
    """

    def __init__(
        self,
        file: str,
        source: str,
        options: ReadOptions,
        *,
        papers: RecordWriter,
        rejects: RecordWriter,
        index: RecordWriter,
    ) -> None:
        self.records = 0
        self.readable = False
        self.filtered = 0
        self.filtered_without_year = 0
        self.tombstones = 0
        self.unusable_labels = 0
        self.reasons: Counter[Reason] = Counter()
        self._file, self._source = file, source
        self._first_year, self._last_year = options.years or (None, None)
        self._by_year = options.years is not None
        self._papers, self._rejects, self._index = papers, rejects, index
        self._unreadable: Record | None = None

    def sort(self, record: Record) -> None:
        """Count a record and write it to the papers, the rejects or the index.

        Raises:
            WrongFormatError: None of the first records could be read.
        """
        self.records += 1
        if not self.readable:
            self._try(record)
        if isinstance(record, MalformedRecord):
            self._reject(record, record.reason, record.detail)
            return
        paper_id, title, abstract = map(_present, (record.paper_id, record.title, record.abstract))
        place: tuple[int | None, int | None] = (None, None)
        if not paper_id:
            self._reject(record, "null_id", title or None)
            return
        if record.deleted:
            self.tombstones += 1
        elif record.withdrawn is not None:
            self._reject(record, "withdrawn", record.withdrawn)
        elif not title:
            self._reject(record, "missing_title", None)
        elif self._by_year and not self._wanted(record.year):
            self.filtered += 1
            self.filtered_without_year += record.year is None
        else:
            self.unusable_labels += record.label_unusable
            place = self._papers.place
            self._papers.add(
                (paper_id, title, abstract or None, normalise_label(record.label), self._source, record.year),
                characters=len(title) + len(abstract),
            )
        if record.deleted or record.version:
            self._index.add((paper_id, record.version, record.deleted, record.position, *place))

    def check_format(self) -> None:
        """Raise an error if the file, now read to its end, is of another format.

        Raises:
            WrongFormatError: The file has records, but none could be read.
        """
        if self._unreadable is not None and not self.readable:
            self._refuse()

    def _try(self, record: Record) -> None:
        if isinstance(record, PaperRecord) and record.paper_id:
            self.readable = True
            return
        self._unreadable = self._unreadable or record
        if self.records >= SAMPLE_RECORDS:
            self._refuse()

    def _refuse(self) -> None:
        first = self._unreadable
        problem = first.detail if isinstance(first, MalformedRecord) else "it has no id"
        raise WrongFormatError(
            f"none of the first {self.records} records is one of {self._source}; the first: {problem}; "
            "is the file of another format?"
        )

    def _wanted(self, year: int | None) -> bool:
        if year is None:
            return False
        return (self._first_year is None or year >= self._first_year) and (
            self._last_year is None or year <= self._last_year
        )

    def _reject(self, record: Record, reason: Reason, detail: str | None) -> None:
        self.reasons[reason] += 1
        short = detail[:DETAIL_CHARACTERS] if detail else None
        self._rejects.add((self._file, record.position, record.paper_id or None, reason, short))


def _present(text: str | None) -> str:
    """Return a text without surrounding blanks, or an empty text for None."""
    return "" if text is None or is_missing(text) else text.strip()
