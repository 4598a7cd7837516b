"""The only module that opens duckdb: it never lets duckdb interpret a path, a URL or the name of an extension."""

# Annotations that are evaluated would keep duckdb's types alive at the end of the process, of which it warns.
from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.errors import ShardError, SpecterBatchError
from specter_batch.papers.parquet import parquet_file

if TYPE_CHECKING:
    Database: TypeAlias = duckdb.DuckDBPyConnection

# duckdb writes tables to disk beyond this size. The ids of all of PubMed fit.
MEMORY = 1_000_000_000
# A join needs memory for each row even if all tables are on disk. One of 50 million rows failed with 20 bytes for each.
ROW_MEMORY = 40
FLOAT16_BYTES = 2
READ_ROWS = 100_000
# Rows that are read at once if they have vectors, which take a hundred times as much as all else.
READ_VECTORS = 10_000
NO_COLUMNS = pa.schema([])

# In other paths duckdb reads a meaning of its own: it takes `\` for `/`, and refuses bytes that are not UTF-8.
_PLAIN_PATH = re.compile(r"[^\\\udc80-\udcff]*")


@contextmanager
def opened_database(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a new, empty database that keeps what does not fit into memory in `scratch`.

    The database has no file of its own, because duckdb searches such a file's path for prefixes (`md:`), queries (`?`)
    and more. It cannot install or load extensions, and it takes no files by name: give it parquet with
    `register_parquet`.

    Args:
        scratch: An existing folder. The caller removes it.

    Raises:
        SpecterBatchError: The tables outgrew the disk or the memory.
    """
    with _plain(scratch.absolute()) as spill:
        database = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": _megabytes(MEMORY),
                "temp_directory": spill,
            },
        )
        try:
            yield database
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            why = " ".join(str(error).split("\n\n")[0].split())
            if " used)" in why and "offload" not in why:  # a statement needs more memory than it may have
                raise SpecterBatchError(
                    f"{scratch.parent}: the night has too many papers to compare at once with the memory allowed "
                    f"({why}). Label it as several nights, each with a part of the files; finished work is kept"
                ) from error
            raise SpecterBatchError(
                f"{scratch.parent}: the disk has no space for the temporary tables of ids and texts ({why}). Free "
                "disk space in this folder and run the same command again; finished work is kept. If OUT is in a "
                "store, these tables are in TMPDIR"
            ) from error
        finally:
            database.close()


def memory_for(rows: int) -> int:
    """Return how many bytes of memory tables with so many rows may use."""
    return max(MEMORY, ROW_MEMORY * rows)


def allow_joins(database: Database, *tables: str) -> None:
    """Let the database use more memory if the tables are so large that they could not be joined otherwise."""
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)  # noqa: S608 - ours
    rows = sum(database.execute(f"SELECT {counts}").fetchall()[0])
    database.execute(f"SET memory_limit = '{_megabytes(memory_for(rows))}'")


def _megabytes(size: int) -> str:
    return f"{size // 10**6}MB"


@contextmanager
def _plain(folder: Path) -> Iterator[str]:
    """Yield a path of the folder that duckdb takes as it is: the folder's own, or that of a link to it."""
    if _PLAIN_PATH.fullmatch(str(folder)):
        yield str(folder)
        return
    with tempfile.TemporaryDirectory(prefix="specter-batch-") as beside:
        link = Path(beside) / "scratch"
        link.symlink_to(folder, target_is_directory=True)
        yield str(link)


@contextmanager
def register_parquet(
    database: duckdb.DuckDBPyConnection,
    view: str,
    files: Iterable[Path],
    columns: Iterable[str],
    *,
    optional: pa.Schema = NO_COLUMNS,
    number: str | None = None,
) -> Iterator[None]:
    """Give the database a view of some columns of parquet files; it can be read once.

    pyarrow opens the files, one after another, so their names mean nothing to duckdb and add no columns.

    Args:
        database: From `opened_database`.
        view: The view's name.
        files: At least one file. All of them are read with the column types of the first.
        columns: The columns of the view that all files have.
        optional: More columns of the view. They are null for files that do not have them with this type. Vectors of
            float16 become bytes, because duckdb has no such type; `vectors_in` reads them.
        number: Name of a column with the number of each row over all files; None for no such column.

    Raises:
        ShardError: A file cannot be read, or has not these columns.
    """
    paths, names = list(files), list(columns)
    failed: list[ShardError] = []

    def batches(schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        read = 0
        for path in paths:
            try:
                with parquet_file(path) as parquet:
                    there = [field.name for field in optional if _has(parquet.schema_arrow, field)]
                    rows = READ_VECTORS if any(_is_vector(field.type) for field in optional) else READ_ROWS
                    for batch in parquet.iter_batches(rows, columns=[*names, *there]):
                        numbers = pa.array(np.arange(read, read + batch.num_rows))
                        read += batch.num_rows
                        yield pa.record_batch(
                            [numbers if field.name == number else _column(batch, field) for field in schema],
                            schema=schema,
                        )
            except (pa.ArrowException, OSError, KeyError) as error:
                failed.append(_unreadable(path, error))
                raise

    schema = _schema(paths[0], names, optional)
    if number is not None:
        schema = schema.append(pa.field(number, pa.int64()))
    reader = pa.RecordBatchReader.from_batches(schema, batches(schema))
    database.register(view, reader)
    try:
        yield
    except duckdb.Error:
        if failed:
            raise failed[0] from None
        raise
    finally:
        database.unregister(view)


def database_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema as duckdb takes it: vectors of float16 are bytes."""
    return pa.schema(
        [
            field.with_type(pa.binary(field.type.list_size * FLOAT16_BYTES)) if _is_vector(field.type) else field
            for field in schema
        ]
    )


def vectors_in(column: pa.ChunkedArray) -> npt.NDArray[np.float16]:
    """Return the numbers of a column of vectors, one vector after another, from a label file or from duckdb."""
    if _is_vector(column.type):
        return np.asarray(column.combine_chunks().flatten().to_numpy(), dtype=np.float16)
    return np.frombuffer(b"".join(column.to_pylist()), dtype=np.float16)


def _is_vector(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float16())


def _as_bytes(column: pa.FixedSizeListArray) -> pa.Array:
    """Return vectors of float16 as bytes; null ones stay null."""
    there = column.is_valid()
    content = column.filter(there).flatten().to_numpy().tobytes()
    kind = pa.binary(column.type.list_size * FLOAT16_BYTES)
    vectors = pa.Array.from_buffers(kind, there.true_count, [None, pa.py_buffer(content)])
    mask = there.to_numpy(zero_copy_only=False)
    return vectors.take(pa.array(np.cumsum(mask) - 1, mask=~mask))


def _has(schema: pa.Schema, field: pa.Field) -> bool:
    return field.name in schema.names and schema.field(field.name).type == field.type


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    """Return a column of a batch with a field's type; null if the batch has no such column."""
    if field.name not in batch.schema.names:
        return pa.nulls(batch.num_rows, field.type)
    column = batch.column(field.name)
    return _as_bytes(column) if _is_vector(column.type) else column.cast(field.type)


def _schema(path: Path, names: list[str], optional: pa.Schema) -> pa.Schema:
    try:
        schema = parquet_file(path).schema_arrow
        return database_schema(pa.schema([*(schema.field(name) for name in names), *optional]))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ShardError:
    return ShardError(f"{os.fsdecode(path)}: cannot be read ({' '.join(str(error).split())})")
