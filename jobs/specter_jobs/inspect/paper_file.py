"""One file of papers, of which single rows are taken in ascending order."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.inputs.path_names import partitions_in
from specter_batch.papers.columns import PAPER_SCHEMA, PaperColumns
from specter_batch.papers.parquet import canonical_papers, open_parquet
from specter_batch.storage.location import Location

READ_ROWS = 2048
# Whether the file has a row.
THERE = pa.field("there", pa.bool_())


def kept_name(name: str) -> str:
    """Return the name that a column of the input has next to the canonical columns."""
    return f"input_{name}"


class PaperFile:
    """Takes rows of a file. No row group is decoded twice as long as the rows ascend.

    Args:
        path: The file.
        name: Path below the root of the input. Folder names in it can be columns.
        columns: The column names of the input.
        kept: More columns to return, with their types.

    Raises:
        PaperSchemaError: The file cannot be read as papers, or it lacks a column.
    """

    def __init__(self, path: Location, name: str, columns: PaperColumns, kept: Sequence[pa.Field] = ()) -> None:
        self._path, self._kept = path, kept
        self._file = open_parquet(path)
        self._partitions = partitions_in(name.split("/")[:-1])
        held = self._file.schema_arrow.names
        self._columns, _ = columns.resolve_without_need_of_labels(
            self._file.schema_arrow, where=str(path), partitions=self._partitions
        )
        lost = [field.name for field in kept if field.name not in held and field.name not in self._partitions]
        if lost:
            raise PaperSchemaError(f"{path}: has no column {lost[0]}; it has {', '.join(held)}")
        wanted = [*self._columns.values(), *(field.name for field in kept)]
        self._wanted = [name for name in dict.fromkeys(wanted) if name in held]
        self._needed = 0
        # The batch of rows that was decoded last, and the row that it starts with.
        self._start, self._batch = 0, pa.RecordBatch.from_pylist([], schema=pa.schema([]))
        self._batches = self._read()

    def reaches(self, row: int) -> bool:
        """Return whether a row can still be taken: the rows before the current batch have been passed."""
        return row >= self._start

    def rows(self, numbers: npt.NDArray[np.int64]) -> pa.Table:
        """Return these rows, which ascend: the canonical columns, the kept columns by `kept_name`, and `THERE`.

        Raises:
            PaperSchemaError: The rows cannot be decoded.
        """
        self._needed = int(numbers[0])
        found: list[pa.Table] = []
        try:
            while True:
                stop = self._start + self._batch.num_rows
                inside = numbers[(numbers >= self._start) & (numbers < stop)]
                if len(inside):
                    found.append(self._table(self._batch.take(pa.array(inside - self._start))))
                if numbers[-1] < stop:
                    break
                following = next(self._batches, None)
                if following is None:
                    break
                self._start, self._batch = following
        except (pa.ArrowException, OSError) as error:
            raise PaperSchemaError(f"{self._path}: cannot be decoded ({error})") from error
        there = np.arange(len(numbers)) < sum(map(len, found))
        if not there.all():
            found.append(self._nulls(int((~there).sum())))
        return pa.concat_tables(found).append_column(THERE, pa.array(there))

    def _read(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the batches that may hold the rows needed, each with the number of its first row."""
        start = 0
        for group in range(self._file.num_row_groups):
            end = start + self._file.metadata.row_group(group).num_rows
            if end > self._needed:
                for batch in self._file.iter_batches(READ_ROWS, row_groups=[group], columns=self._wanted):
                    yield start, batch
                    start += batch.num_rows
            start = end

    def _table(self, batch: pa.RecordBatch) -> pa.Table:
        table = canonical_papers(batch, self._columns, self._partitions).table
        for field in self._kept:
            if field.name in batch.schema.names:
                column = self._cast(batch.column(field.name), field)
            else:
                column = pa.array([self._partitions[field.name]] * batch.num_rows, field.type)
            table = table.append_column(field.with_name(kept_name(field.name)), column)
        return table

    def _cast(self, column: pa.Array, field: pa.Field) -> pa.Array:
        try:
            return column.cast(field.type)
        except pa.ArrowException as error:
            raise ConfigError(
                f"{self._path}: column {field.name} has the type {column.type} here and {field.type} in another file, "
                "so it cannot be one column; leave it out"
            ) from error

    def _nulls(self, rows: int) -> pa.Table:
        return null_papers(rows, self._kept)


def null_papers(rows: int, kept: Sequence[pa.Field]) -> pa.Table:
    """Return rows without a paper, with the columns that a paper would have."""
    schema = pa.schema([*PAPER_SCHEMA, *(field.with_name(kept_name(field.name)) for field in kept)])
    return pa.table([pa.nulls(rows, field.type) for field in schema], schema=schema)
