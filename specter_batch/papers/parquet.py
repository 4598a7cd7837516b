"""Papers in parquet, read as batches in the canonical schema."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specter_batch.errors import PaperSchemaError, StorageError
from specter_batch.papers.columns import NO_PARTITIONS, PAPER_SCHEMA
from specter_batch.papers.parquet_file import local_source
from specter_batch.papers.text import missing_values
from specter_batch.storage.location import Location, is_remote, size_of

# By these, files that `embed` wrote are told from files of papers.
EMBEDDING = "embedding"
EMBED_METADATA = {b"encoder", b"pooling", b"text_template"}
WRITTEN_BY_EMBED = "embeddings that `specter-batch embed` wrote"

# Of each column of a file in a store, held at once.
STREAMED_BYTES = 4 << 20


def open_parquet(path: Location) -> pq.ParquetFile:
    """Open a parquet file and read its footer; of a file in a store, only what is read later is fetched.

    Raises:
        PaperSchemaError: The file is empty, corrupt or no parquet at all.
    """
    # A column chunk of a local file is read whole; one of a store is streamed, however large it is.
    buffer = STREAMED_BYTES if is_remote(path) else 0
    try:
        source = path.open() if is_remote(path) else local_source(path)
        file = pq.ParquetFile(source, buffer_size=buffer)
        dictionaries = [field.name for field in file.schema_arrow if pa.types.is_dictionary(field.type)]
        # Asked for as such, dictionaries come undecoded, and bytes that are not UTF-8 cost their rows, not the file.
        return pq.ParquetFile(source, buffer_size=buffer, read_dictionary=dictionaries) if dictionaries else file
    except FileNotFoundError:
        raise PaperSchemaError(f"{path}: the file is gone; was it moved while the job ran?") from None
    except StorageError as error:
        raise PaperSchemaError(str(error)) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        size = size_of(path)
        what = "the file is empty" if size == 0 else f"not a readable parquet file ({_first_line(error)})"
        raise PaperSchemaError(f"{path}: {what}; write it again or move it away") from error


def is_from_embed(schema: pa.Schema) -> bool:
    """Say whether a parquet file is one that `specter-batch embed` wrote: it holds embeddings and no papers."""
    return EMBEDDING in schema.names and (schema.metadata or {}).keys() >= EMBED_METADATA


@dataclass(frozen=True, kw_only=True)
class PaperBatch:
    """Papers in the canonical schema.

    Attributes:
        table: `PAPER_SCHEMA`, bytes that are not UTF-8 replaced by U+FFFD.
        invalid_unicode: `(n_papers,)` bool, True where id, title or abstract held such bytes.
    """

    table: pa.Table
    invalid_unicode: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.table.num_rows)


def read_papers(
    file: pq.ParquetFile,
    columns: Mapping[str, str],
    *,
    where: str,
    batch_rows: int,
    row_groups: list[int] | None = None,
    partitions: Mapping[str, str | None] = NO_PARTITIONS,
) -> Iterator[PaperBatch]:
    """Stream a file's papers, reading only the needed columns.

    Args:
        file: From `open_parquet`.
        columns: From `PaperColumns.resolve`.
        where: The file's name, for messages.
        batch_rows: Most papers held at once.
        row_groups: Only these row groups; all when None.
        partitions: As given to `PaperColumns.resolve`.

    Raises:
        PaperSchemaError: A row group cannot be decoded.
    """
    wanted = [name for name in columns.values() if name in file.schema_arrow.names]
    # Row groups one at a time: asked for all, the reader holds the pages of many.
    for group in range(file.num_row_groups) if row_groups is None else row_groups:
        try:
            for batch in file.iter_batches(batch_rows, row_groups=[group], columns=wanted):
                yield canonical_papers(batch, columns, partitions)
        except (pa.ArrowException, OSError) as error:
            what = f"row group {group} cannot be decoded ({_first_line(error)})"
            raise PaperSchemaError(f"{where}: {what}; write the file again") from error


def canonical_papers(
    batch: pa.RecordBatch, columns: Mapping[str, str], partitions: Mapping[str, str | None] = NO_PARTITIONS
) -> PaperBatch:
    """Give a batch of any accepted column types the canonical schema; columns it lacks are partitions."""
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


def _without_missing(texts: pa.Array) -> pa.Array:
    """Return a column with null where words or invisible characters stand for nothing; white space stays as it is."""
    missing = missing_values(texts)
    if missing.any():
        missing &= np.asarray(pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False))
    return pc.if_else(pa.array(missing), None, texts) if missing.any() else texts


def _as_text(array: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Cast to string and say which values were not UTF-8 (parquet readers do not check)."""
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
