"""Writes the papers of each part to parquet, with all their columns, in the order of the input."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from specter_batch.display import storable
from specter_batch.errors import PaperSchemaError
from specter_batch.inputs import InputInventory, InputPath
from specter_batch.papers.columns import writable_type
from specter_batch.papers.parquet import open_parquet, table_writer
from specter_batch.training.papers.parts.account import PARTS
from specter_batch.training.papers.parts.assignment import Parts

WRITTEN_ROWS = 8192


class _PartWriter:
    """Collects the papers of a part, so that its row groups are no smaller than `WRITTEN_ROWS`."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._waiting: list[pa.Table] = []

    def add(self, papers: pa.Table) -> None:
        """Add papers; they are written when there are enough."""
        self._waiting.append(papers)
        if sum(table.num_rows for table in self._waiting) >= WRITTEN_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the papers that wait."""
        if any(table.num_rows for table in self._waiting):
            self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting = []


def common_schema(inventory: InputInventory) -> pa.Schema:
    """Return the schema of all files together. Columns that come from folder names are part of it.

    Raises:
        PaperSchemaError: A column has types in two files that no type can hold together.
    """
    schema = pa.schema([])
    for listed in inventory.files:
        _check_names(listed)
        own = _schema_of(open_parquet(listed.path).schema_arrow, listed.partitions)
        try:
            schema = pa.unify_schemas([schema, own], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise PaperSchemaError(
                f"{storable(str(listed.path))}: its columns do not fit those of the files before it "
                f"({str(error).splitlines()[0]}); write the files with the same columns, or split them one by one"
            ) from error
    return schema


def _check_names(listed: InputPath) -> None:
    names = open_parquet(listed.path).schema_arrow.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PaperSchemaError(
            f"{storable(str(listed.path))}: has {names.count(twice)} columns named {storable(twice)}; rename or remove "
            "all but one"
        )


def _schema_of(schema: pa.Schema, partitions: Mapping[str, str | None]) -> pa.Schema:
    fields = [pa.field(one.name, writable_type(one.type)) for one in schema]
    fields += [pa.field(name, pa.string()) for name in partitions if name not in schema.names]
    return pa.schema(fields)


def write_parts(
    inventory: InputInventory,
    schema: pa.Schema,
    parts: Parts,
    folder: Path,
    *,
    written: Sequence[str],
    advance: Callable[[int], None],
) -> None:
    """Write a parquet file for each part.

    Args:
        inventory: The files of the input.
        schema: The columns of the parts, from `common_schema`.
        parts: Number of the part of each row, `(n_rows,)`; -1 for a row that is in no part.
        folder: Folder for the files.
        written: Names of the parts that get a file.
        advance: Called with the number of rows that were read.
    """
    with ExitStack() as stack:
        writers = {
            PARTS.index(name): _PartWriter(stack.enter_context(table_writer(folder / f"{name}.parquet", schema)))
            for name in written
        }
        row = 0
        for listed in inventory.files:
            for batch in _batches(listed):
                own = parts[row : row + batch.num_rows]
                table = _with_schema(batch, schema, listed)
                for number, writer in writers.items():
                    writer.add(table.filter(pa.array(own == number)))
                row += batch.num_rows
                advance(batch.num_rows)
        for writer in writers.values():
            writer.flush()
    assert row == len(np.asarray(parts))  # noqa: S101 - both passes read the same rows


def _batches(listed: InputPath) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file. Row groups are read one at a time, or the reader would hold several in memory."""
    file = open_parquet(listed.path)
    for group in range(file.num_row_groups):
        yield from file.iter_batches(WRITTEN_ROWS, row_groups=[group])


def _with_schema(batch: pa.RecordBatch, schema: pa.Schema, listed: InputPath) -> pa.Table:
    columns = []
    for field in schema:
        if field.name in batch.schema.names:
            values = batch.column(field.name)
            values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
            try:
                columns.append(values if values.type == field.type else values.cast(field.type))
            except pa.ArrowInvalid as error:
                raise PaperSchemaError(
                    f"{storable(str(listed.path))}: the column {storable(field.name)} cannot become {field.type}, "
                    f"which all files together need ({str(error).splitlines()[0]}); write it with the same type in "
                    "all files"
                ) from error
        elif field.name in listed.partitions:
            columns.append(pa.array([listed.partitions[field.name]] * batch.num_rows, field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.table(columns, schema=schema)
