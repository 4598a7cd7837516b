"""Write the rows of an input file to parquet files of limited size.

A file is either complete or absent, and the same rows always give the same bytes.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from specter_batch.papers.columns import PAPER_SCHEMA
from specter_batch.papers.parquet_file import table_writer
from specter_batch.storage.files import file_sha256, written_whole
from specter_jobs.output.names import INDEX, PAPERS, REJECTS, parquet_name
from specter_jobs.output.output_file import OutputFile

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
