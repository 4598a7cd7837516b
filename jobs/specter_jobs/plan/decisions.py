"""What is decided of a shard before it is labelled: which rows are duplicates, known or copies."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from specter_jobs.plan.shards import Shard


@dataclass(frozen=True, kw_only=True)
class DeduplicatedShard:
    """A shard whose rows were compared with those of all other shards.

    Attributes:
        number: Its position in the plan.
        rows_hash: Of its rows alone.
        content: Hash of its rows and of what was decided of them: equal for equal work only.
        error: Why it cannot be read.
    """

    shard: Shard
    number: int
    rows_hash: str
    content: str
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What need not be labelled of a shard; keys are rows within it.

    Attributes:
        duplicates: Rows whose id stands earlier -> where.
        known: `row, label_id, score, logits, probabilities`: rows whose text was labelled in an earlier night. The
            lists are null if that night did not write them.
        copies: Rows whose text stands earlier in this night -> name of that shard.
    """

    duplicates: Mapping[int, str]
    known: pa.Table
    copies: Mapping[int, str]
