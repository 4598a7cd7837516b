"""Read the rows of shards once, several shards at the same time, and return only their keys and hashes."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.errors import ShardError
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.screening import screen_columns
from specter_batch.papers.text_columns import text_columns, text_hashes
from specter_jobs.plan.sections import LabelRules
from specter_jobs.plan.shard_keys import KEYS, PLACES, RunKeys, ShardKeys, ShardRun
from specter_jobs.plan.shards import Shard
from specter_jobs.screen.shard_reader import ShardReader, content_hash, kept_hash

# Bytes of papers that stay in memory until they are labelled, about 30,000 short abstracts. The others are read again
# from the input, which takes less than a hundredth of the time of labelling them.
KEPT_BYTES = 16 << 20

# Maximum number of threads. Making hashes takes a quarter of the time and needs Python's lock, and each thread has a
# shard in memory.
MAX_THREADS = 2


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

    def read(self, runs: Iterable[ShardRun]) -> Iterator[RunKeys]:
        """Yield the keys of runs in their order, with only a few runs in memory at once."""
        waiting: deque[Future[RunKeys]] = deque()
        for run in runs:
            waiting.append(self.submit(run))
            if len(waiting) > self._threads:
                yield waiting.popleft().result()
        while waiting:
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
