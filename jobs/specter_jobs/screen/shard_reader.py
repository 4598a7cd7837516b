"""Read shards of papers in order, without decoding a row group twice, and hash their rows."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specter_batch.errors import PaperSchemaError, ShardError, StorageError
from specter_batch.papers.columns import PAPER_SCHEMA
from specter_batch.papers.parquet import PaperBatch, open_parquet, read_papers
from specter_batch.storage.location import is_remote
from specter_jobs.plan.shards import InputFile, Shard

# Number of rows that are decoded at once.
READ_ROWS = 2048


class ShardReader:
    """Reads shards. The next shard of the same file continues where the last one ended.

    A parquet row group can only be decoded from its beginning. A row group that is larger than a shard is therefore
    decoded once for all of its shards.
    """

    def __init__(self) -> None:
        self._file: InputFile | None = None
        self._batches: Iterator[PaperBatch] = iter(())
        self._rest: PaperBatch | None = None
        self._position = 0

    def read(self, shard: Shard) -> PaperBatch:
        """Return the shard's papers.

        Raises:
            ShardError: The file is gone, has changed its size, or cannot be decoded.
        """
        try:
            return self._read(shard)
        except (PaperSchemaError, StorageError) as error:
            self._file = None
            rows = f"rows {shard.start} to {shard.start + shard.rows}"
            raise ShardError(f"{shard.file.path}: {rows} cannot be read: {error}; then rerun") from error

    def _read(self, shard: Shard) -> PaperBatch:
        group = shard.file.group_of(shard.start)
        # Compared by value, because a shard from another process has its own copy of the file object.
        if self._file != shard.file or not shard.file.group_starts[group] <= self._position <= shard.start:
            parquet = open_parquet(shard.file.path)
            if parquet.metadata.num_rows != shard.file.rows:
                raise PaperSchemaError("the file changed while the job ran; leave it alone")
            groups = list(range(group, parquet.num_row_groups))
            self._batches = read_papers(
                parquet,
                shard.file.columns,
                where=shard.file.name,
                batch_rows=READ_ROWS,
                row_groups=groups,
                partitions=shard.file.partitions,
                kept=shard.file.kept,
                threads=is_remote(shard.file.path),  # several downloads at once; several shards are read at once anyway
            )
            self._file, self._rest, self._position = shard.file, None, shard.file.group_starts[group]
        self._take(shard.start - self._position)
        papers = PaperBatch.joined(self._take(shard.rows) or [_no_papers(shard.file.kept)])
        if self._position == shard.file.rows:  # the decoder would keep the text of the last row group in memory
            self._file, self._batches, self._rest = None, iter(()), None
        return papers

    def _take(self, rows: int) -> list[PaperBatch]:
        batches: list[PaperBatch] = []
        self._position += rows
        while rows:
            batch = self._rest or next(self._batches, None)
            self._rest = None
            if batch is None:
                raise PaperSchemaError("the file ends before its footer says; write the file again")
            if len(batch) > rows:
                self._rest, batch = batch.slice(rows), batch.slice(0, rows)
            batches.append(batch)
            rows -= len(batch)
        return batches


def _no_papers(kept: pa.Schema) -> PaperBatch:
    return PaperBatch(
        table=PAPER_SCHEMA.empty_table(),
        invalid_unicode=np.zeros(0, dtype=np.bool_),
        kept=kept.empty_table() if kept.names else None,
    )


def content_hash(papers: PaperBatch) -> str:
    """Hash the canonical rows. Equal papers have the same hash, whatever the file's compression or column types."""
    digest = hashlib.blake2b(digest_size=16)
    for column in papers.table.columns:
        lengths = pc.fill_null(pc.utf8_length(column), -1).to_numpy()
        digest.update(lengths.astype("<i8").tobytes())
        for chunk in column.chunks:
            digest.update(_joined(chunk))
    digest.update(papers.invalid_unicode.tobytes())
    return digest.hexdigest()


def kept_hash(papers: PaperBatch) -> str:
    """Hash the values of the kept columns; empty if there are none.

    Parquet stores only the values and no padding, so the same values give the same bytes.
    """
    if papers.kept is None:
        return ""
    sink = pa.BufferOutputStream()
    pq.write_table(papers.kept.combine_chunks(), sink, compression="none", write_statistics=False)
    return hashlib.blake2b(sink.getvalue(), digest_size=16).hexdigest()


def _joined(texts: pa.StringArray) -> memoryview:
    """Return the bytes of all values, one after another. They are only copied if a null value hides bytes."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return memoryview(b"")
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if texts.null_count and np.diff(ends)[texts.is_null().to_numpy(zero_copy_only=False)].any():
        return _joined(pc.fill_null(texts, ""))
    return memoryview(data)[ends[0] : ends[-1]]
