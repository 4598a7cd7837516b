"""Reads and writes local parquet files without reading any part of their path as a URL or a partition column."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def local_source(path: Path) -> pa.OSFile:
    """Open a local file for pyarrow. If pyarrow got the path as text, it could read it as a URL.

    Raises:
        OSError: The file cannot be opened.
    """
    return pa.OSFile(os.fsencode(path))


def parquet_file(path: Path) -> pq.ParquetFile:
    """Open a local parquet file with any path, such as `night:1/a.parquet` or `date=2026/a.parquet`.

    Args:
        path: Path of the file, which need not be valid UTF-8.

    Raises:
        OSError: The file cannot be opened.
        ArrowException: The file is not parquet.
    """
    return pq.ParquetFile(local_source(path))


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a local parquet file, or some of its columns. Partition columns in its folders' names are not added."""
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
