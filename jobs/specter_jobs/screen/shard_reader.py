"""Read shards of papers: all their rows, or only the keys and hashes that the deduplication compares.

Shards are read in order, without decoding a row group twice.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specter_batch.errors import PaperSchemaError, ShardError, StorageError
from specter_batch.papers.columns import PAPER_SCHEMA
from specter_batch.papers.parquet import PaperBatch, open_parquet, read_papers
from specter_batch.papers.screening import screen_columns
from specter_batch.papers.text import text_columns, text_hashes
from specter_batch.storage.location import is_remote
from specter_jobs.plan.sections import LabelRules
from specter_jobs.plan.shard_keys import KEYS, PLACES, RunKeys, ShardKeys, ShardRun
from specter_jobs.plan.shards import InputFile, Shard

# Number of rows that are decoded at once.
READ_ROWS = 2048

# Bytes of papers that stay in memory until they are labelled, about 30,000 short abstracts. The others are read again
# from the input, which takes less than a hundredth of the time of labelling them.
KEPT_BYTES = 16 << 20

# Maximum number of threads. Making hashes takes a quarter of the time and needs Python's lock, and each thread has a
# shard in memory.
MAX_THREADS = 2


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
                raise PaperSchemaError("the file changed while the job ran; nothing may write to it meanwhile")
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


class Room:
    """Bytes of papers that may stay in memory until they are labelled, shared by all readers of a process."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def takes(self, papers: PaperBatch) -> bool:
        """Return whether the papers may stay in memory."""
        with self._lock:
            if papers.nbytes > self._left:
                return False
            self._left -= papers.nbytes
            return True


class KeyReader:
    """Reads the keys of shards. It is fastest if runs come in order.

    Args:
        rules: Settings that decide which papers can be labelled.
        template: Template that joins title and abstract to one text.
        room: Room for papers that stay in memory; None to keep no papers.
    """

    def __init__(self, rules: LabelRules, template: str, room: Room | None = None) -> None:
        self._rules, self._template, self._room = rules, template, room
        self._reader = ShardReader()

    def read(self, run: ShardRun, *, stopped: Callable[[], bool] = lambda: False) -> RunKeys:
        """Return the keys of the shards. A shard that cannot be read does not affect the others.

        Args:
            run: Shards to read.
            stopped: Whether to stop before the next shard. The result is then incomplete.
        """
        found: list[ShardKeys] = []
        for number, shard in enumerate(run.shards, run.first):
            if stopped():
                break
            try:
                found.append(self._read(number, shard))
            except ShardError as error:
                found.append(ShardKeys(number=number, error=str(error)))
            except Exception as error:  # a process of a worker would end, and nobody would know why
                found.append(ShardKeys(number=number, error=f"{shard.name}: {type(error).__name__}: {error}"))
        return RunKeys(shards=tuple(found))

    def _read(self, number: int, shard: Shard) -> ShardKeys:
        papers = self._reader.read(shard)
        return ShardKeys(
            number=number,
            rows_hash=content_hash(papers),
            kept_hash=kept_hash(papers),
            keys=self._keys(number, papers),
            papers=papers if self._room is not None and self._room.takes(papers) else None,
        )

    def _keys(self, number: int, papers: PaperBatch) -> pa.Table:
        rows = np.flatnonzero(screen_columns(papers, self._rules).usable)
        ids = papers.table["paper_id"]
        ids = pc.utf8_trim_whitespace(ids if len(rows) == len(papers) else ids.take(pa.array(rows)))
        hashes = b"".join(map(text_hashes, text_columns(papers.table, self._template, rows=rows)))
        halves = np.frombuffer(hashes, ">u8").astype(np.uint64).reshape(-1, 2)
        return pa.table(
            [ids, pa.array(halves[:, 0]), pa.array(halves[:, 1]), pa.array(number * PLACES + rows)], schema=KEYS
        )


class KeyThreads:
    """Threads that read the keys of shards.

    Args:
        rules: Settings that decide which papers can be labelled.
        template: Template that joins title and abstract to one text.
        threads: Number of usable threads, of which at most `MAX_THREADS` are used.
        kept_bytes: Maximum bytes of papers that stay in memory.
    """

    def __init__(self, rules: LabelRules, template: str, *, threads: int, kept_bytes: int = 0) -> None:
        self._make = rules, template, Room(kept_bytes)
        self._threads = min(threads, MAX_THREADS)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="survey")
        self._local = threading.local()
        self._stopped = threading.Event()

    def submit(self, run: ShardRun) -> Future[RunKeys]:
        """Start to read a run."""
        return self._pool.submit(self._read, run)

    def read(self, runs: Iterable[ShardRun], *, check: Callable[[], None]) -> Iterator[RunKeys]:
        """Yield the keys of runs in their order, with only a few runs in memory at once.

        Args:
            runs: The runs to read.
            check: Called before each result. It may raise to stop reading.
        """
        waiting: deque[Future[RunKeys]] = deque()
        for run in runs:
            waiting.append(self.submit(run))
            if len(waiting) > self._threads:
                check()
                yield waiting.popleft().result()
        while waiting:
            check()
            yield waiting.popleft().result()

    def close(self) -> None:
        """Stop after the shards that are being read."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def _read(self, run: ShardRun) -> RunKeys:
        reader: KeyReader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = KeyReader(*self._make)
        return reader.read(run, stopped=self._stopped.is_set)
