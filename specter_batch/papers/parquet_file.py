"""Local parquet files, read and written by their path alone: no part of a path is taken for a URL or for a column."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def local_source(path: Path) -> pa.OSFile:
    """Open a local file for pyarrow, which would search a path that is a text for the scheme of a URL.

    Raises:
        OSError: It cannot be opened.
    """
    return pa.OSFile(os.fsencode(path))


def parquet_file(path: Path) -> pq.ParquetFile:
    """Open a local parquet file, whatever its path: `night:1/a.parquet`, `date=2026/a.parquet` or no valid UTF-8.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
        ArrowException: It is not parquet.
    """
    return pq.ParquetFile(local_source(path))


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a local parquet file whole, or some of its columns; its folders' names add none."""
    return parquet_file(path).read(columns=None if columns is None else list(columns))


def write_table(path: Path, table: pa.Table, *, compression: str = "zstd") -> None:
    """Write a local parquet file."""
    with pa.OSFile(os.fsencode(path), "wb") as file:
        pq.write_table(table, file, compression=compression)


@contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Yield a writer that appends row groups to a new local parquet file."""
    with pa.OSFile(os.fsencode(path), "wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer
