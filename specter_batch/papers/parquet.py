"""Papers in parquet: files, and batches in the canonical schema.

Local files are read and written without reading any part of their path as a URL or a partition column.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specter_batch.errors import PaperSchemaError, StorageError
from specter_batch.inputs.kinds import HEAD_BYTES, how_to_convert
from specter_batch.papers.columns import NO_PARTITIONS, PAPER_SCHEMA
from specter_batch.papers.text import missing_values
from specter_batch.storage.location import Location, is_remote, size_of

# The column and the message by which files that `embed` wrote are recognised.
EMBEDDING = "embedding"
EMBED_METADATA = {b"encoder", b"pooling", b"text_template"}
WRITTEN_BY_EMBED = "embeddings that `specter-batch embed` wrote"

NO_COLUMNS = pa.schema([])

# Number of bytes of each column to hold at once, for a file in a store.
STREAMED_BYTES = 4 << 20


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
def table_writer(path: Path, schema: pa.Schema, *, vectors: Sequence[str] = ()) -> Iterator[pq.ParquetWriter]:
    """Yield a writer that appends row groups to a new local parquet file.

    Args:
        path: Path of the file.
        schema: Its columns.
        vectors: Columns of float32 lists with values that hardly repeat. Their bytes are stored by significance, which
            makes them a third smaller than a dictionary does.
    """
    encodings: dict[str, Any] = {}
    if vectors:
        leaves = [f"{name}.list.element" for name in vectors]
        others = [field.name for field in schema if field.name not in vectors]
        others += [f"{name}.list.element" for name in others]
        encodings = {"use_dictionary": others, "column_encoding": dict.fromkeys(leaves, "BYTE_STREAM_SPLIT")}
    with (
        pa.OSFile(os.fsencode(path), "wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd", **encodings) as writer,
    ):
        yield writer


def open_parquet(path: Location) -> pq.ParquetFile:
    """Open a parquet file and read its footer. From a store, only the parts that are read later are downloaded.

    Raises:
        PaperSchemaError: The file is empty, damaged or not parquet.
    """
    # A column chunk of a local file is read at once. In a store it is streamed, because it can be large.
    buffer = STREAMED_BYTES if is_remote(path) else 0
    try:
        source = path.open() if is_remote(path) else local_source(path)
        file = pq.ParquetFile(source, buffer_size=buffer)
        dictionaries = [field.name for field in file.schema_arrow if pa.types.is_dictionary(field.type)]
        # Dictionaries are read undecoded, so that bytes that are not UTF-8 only affect their rows, not the whole file.
        return pq.ParquetFile(source, buffer_size=buffer, read_dictionary=dictionaries) if dictionaries else file
    except FileNotFoundError:
        raise PaperSchemaError(f"{path}: the file is gone; it was moved or deleted while the job ran") from None
    except StorageError as error:
        raise PaperSchemaError(str(error)) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        size = size_of(path)
        what = "the file is empty" if size == 0 else f"not a readable parquet file ({_first_line(error)})"
        advice = how_to_convert(path.name, _first_bytes(path)) or "write the file again, or remove it from the input"
        raise PaperSchemaError(f"{path}: {what}; {advice}") from error


def _first_bytes(path: Location) -> bytes:
    """Return the first bytes of a local file; nothing if it cannot be read or is in a store."""
    if is_remote(path):
        return b""
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError:
        return b""


def is_from_embed(schema: pa.Schema) -> bool:
    """Return whether `specter-batch embed` wrote a parquet file: it has embeddings and no papers."""
    return EMBEDDING in schema.names and (schema.metadata or {}).keys() >= EMBED_METADATA


@dataclass(frozen=True, kw_only=True)
class PaperBatch:
    """Papers in the canonical schema.

    Attributes:
        table: Table with the schema `PAPER_SCHEMA`; bytes that are not UTF-8 are replaced by U+FFFD.
        invalid_unicode: True for papers whose id, title or abstract had such bytes, `(n_papers,)` bool.
        kept: More columns of the input, for the label files; None if there are none.
    """

    table: pa.Table
    invalid_unicode: npt.NDArray[np.bool_]
    kept: pa.Table | None = None

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def nbytes(self) -> int:
        """Bytes that the papers take in memory."""
        return int(self.table.nbytes) + (0 if self.kept is None else int(self.kept.nbytes))

    def slice(self, start: int, length: int | None = None) -> "PaperBatch":
        """Return some neighbouring papers, up to the last one if no length is given; nothing is copied."""
        stop = None if length is None else start + length
        return PaperBatch(
            table=self.table.slice(start, length),
            invalid_unicode=self.invalid_unicode[start:stop],
            kept=None if self.kept is None else self.kept.slice(start, length),
        )

    @classmethod
    def joined(cls, batches: "Sequence[PaperBatch]") -> "PaperBatch":
        """Return the papers of several batches, at least one, as one batch."""
        kept = [batch.kept for batch in batches if batch.kept is not None]
        return cls(
            table=pa.concat_tables([batch.table for batch in batches]),
            invalid_unicode=np.concatenate([batch.invalid_unicode for batch in batches]),
            kept=pa.concat_tables(kept) if kept else None,
        )


def read_papers(
    file: pq.ParquetFile,
    columns: Mapping[str, str],
    *,
    where: str,
    batch_rows: int,
    row_groups: list[int] | None = None,
    partitions: Mapping[str, str | None] = NO_PARTITIONS,
    kept: pa.Schema = NO_COLUMNS,
    threads: bool = True,
) -> Iterator[PaperBatch]:
    """Stream a file's papers, reading only the needed columns.

    Args:
        file: The open file, from `open_parquet`.
        columns: Canonical column name -> name in the file, from `PaperColumns.resolve`.
        where: Name of the file in messages.
        batch_rows: Largest number of papers in a batch.
        row_groups: Numbers of the row groups to read; all when None.
        partitions: Partition column -> value, as given to `PaperColumns.resolve`.
        kept: More columns to read, with the types that they are converted to; null if the file does not have them.
        threads: Whether columns are read in parallel, which takes more CPU time.

    Raises:
        PaperSchemaError: A row group cannot be decoded.
    """
    wanted = [name for name in {*columns.values(), *kept.names} if name in file.schema_arrow.names]
    # Row groups are read one at a time; otherwise the reader would hold the pages of several in memory.
    for group in range(file.num_row_groups) if row_groups is None else row_groups:
        try:
            for batch in file.iter_batches(batch_rows, row_groups=[group], columns=wanted, use_threads=threads):
                papers = canonical_papers(batch, columns, partitions)
                yield replace(papers, kept=_kept_columns(batch, kept)) if kept.names else papers
        except (pa.ArrowException, OSError) as error:
            what = f"row group {group} cannot be decoded ({_first_line(error)})"
            raise PaperSchemaError(f"{where}: {what}; write the file again") from error


def canonical_papers(
    batch: pa.RecordBatch, columns: Mapping[str, str], partitions: Mapping[str, str | None] = NO_PARTITIONS
) -> PaperBatch:
    """Convert a batch to the canonical schema; columns that the batch does not have are taken from the partitions."""
    invalid = np.zeros(batch.num_rows, dtype=np.bool_)
    arrays: list[pa.Array] = []
    for name in PAPER_SCHEMA.names:
        if name not in columns:
            arrays.append(pa.nulls(batch.num_rows, pa.string()))
            continue
        if columns[name] not in batch.schema.names:
            arrays.append(pa.array([partitions[columns[name]]] * batch.num_rows, pa.string()))
            continue
        text, broken = _as_text(batch.column(columns[name]))
        if name != "label":
            invalid |= broken
            text = text if name == "paper_id" else _without_missing(text)
        arrays.append(text)
    return PaperBatch(table=pa.table(arrays, schema=PAPER_SCHEMA), invalid_unicode=invalid)


def _kept_columns(batch: pa.RecordBatch, kept: pa.Schema) -> pa.Table:
    """Return columns of a batch as they are, with the types of `kept`; text that is not UTF-8 is replaced by U+FFFD."""
    arrays: list[pa.Array] = []
    for field in kept:
        if field.name not in batch.schema.names:
            arrays.append(pa.nulls(batch.num_rows, field.type))
            continue
        values = batch.column(field.name)
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if pa.types.is_string_view(values.type):
            values = values.cast(pa.large_string())
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = _as_text(values)[0]
        arrays.append(values.cast(field.type))
    return pa.table(arrays, schema=kept)


def _without_missing(texts: pa.Array) -> pa.Array:
    """Return a column with null for values that mean "missing" or are invisible; plain white space is kept."""
    missing = missing_values(texts)
    if missing.any():
        missing &= np.asarray(pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False))
    return pc.if_else(pa.array(missing), None, texts) if missing.any() else texts


def _as_text(array: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Cast to string, and return which values were not UTF-8, because parquet readers do not check."""
    valid = np.zeros(len(array), dtype=np.bool_)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_integer(array.type) or pa.types.is_decimal(array.type) or pa.types.is_null(array.type):
        return array.cast(pa.string()), valid
    raw = array.cast(pa.large_binary())
    try:
        text = raw.cast(pa.large_string())
        return text.cast(pa.string()), valid
    except pa.ArrowInvalid:
        values = raw.to_pylist()
        decoded = [None if value is None else value.decode("utf-8", errors="replace") for value in values]
        broken = [text is not None and value != text.encode() for value, text in zip(values, decoded, strict=True)]
        return pa.array(decoded, pa.string()), np.array(broken, dtype=np.bool_)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
