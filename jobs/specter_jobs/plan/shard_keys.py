"""The keys of a shard: ids and text hashes of its rows, which decide what is labelled, and the runs that are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from specter_batch.papers.parquet import PaperBatch
from specter_jobs.plan.shards import Shard

# Rows after which a run of shards ends at the next row group. Smaller runs would spend their time on messages.
RUN_ROWS = 5000
# Maximum rows and shards of a run. The keys of so many rows need about 6 MB.
MAX_RUN_ROWS = 100_000
MAX_RUN_SHARDS = 1000

# The place of a row in the night is the number of its shard times this factor, plus its row in the shard.
PLACES = 1 << 32

KEYS = pa.schema(
    [("paper_id", pa.string()), ("hash_high", pa.uint64()), ("hash_low", pa.uint64()), ("place", pa.int64())]
)


@dataclass(frozen=True, kw_only=True)
class ShardRun:
    """Neighbouring shards that one worker reads, so that it decodes their row groups only once.

    Attributes:
        number: Number among all runs, above the numbers of all shards.
        first: Number of the first shard.
        shards: The shards.
    """

    number: int
    first: int
    shards: tuple[Shard, ...]

    @property
    def name(self) -> str:
        """Name of the first shard."""
        return self.shards[0].name

    def single_shards(self) -> "Iterator[ShardRun]":
        """Return a run for each shard, with the shard's own number."""
        for number, shard in enumerate(self.shards, self.first):
            yield ShardRun(number=number, first=number, shards=(shard,))


@dataclass(frozen=True, kw_only=True)
class ShardKeys:
    """The result of reading a shard before any paper is labelled.

    Attributes:
        number: Number of the shard.
        rows_hash: Hash of its rows; empty if it cannot be read.
        kept_hash: Hash of the values of the kept columns; empty if there are none.
        keys: Ids and text hashes of its usable rows, with the columns of `KEYS`.
        papers: Its papers, if they stay in memory.
        error: Reason why it cannot be read.
    """

    number: int
    rows_hash: str = ""
    kept_hash: str = ""
    keys: pa.Table | None = None
    papers: PaperBatch | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunKeys:
    """The results of a run, in the order of its shards."""

    shards: tuple[ShardKeys, ...]


def shard_runs(shards: Sequence[Shard]) -> list[ShardRun]:
    """Cut the shards of a night into runs. Shards of one row group are in one run, unless it would be too large."""
    runs: list[ShardRun] = []
    first, rows = 0, 0
    for number, shard in enumerate(shards):
        at_group = shard.start == shard.file.group_starts[shard.file.group_of(shard.start)]
        full = rows + shard.rows > MAX_RUN_ROWS or number - first == MAX_RUN_SHARDS
        if number > first and (full or (at_group and rows >= RUN_ROWS)):
            runs.append(ShardRun(number=len(shards) + len(runs), first=first, shards=tuple(shards[first:number])))
            first, rows = number, 0
        rows += shard.rows
    if shards:
        runs.append(ShardRun(number=len(shards) + len(runs), first=first, shards=tuple(shards[first:])))
    return runs
