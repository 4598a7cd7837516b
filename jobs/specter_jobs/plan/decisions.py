"""Decisions about a shard before it is labelled: which rows are duplicates, already labelled, or copies."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from specter_jobs.plan.shards import Shard


@dataclass(frozen=True, kw_only=True)
class DeduplicatedShard:
    """A shard whose rows were compared with those of all other shards.

    Attributes:
        number: Its position in the plan.
        rows_hash: Hash of its rows.
        content: Hash of its rows and of the decisions about them. It is equal only if the work is the same.
        kept_hash: Hash of the values of the kept columns; empty if there are none.
        error: Reason why the shard cannot be read.
    """

    shard: Shard
    number: int
    rows_hash: str
    content: str
    kept_hash: str = ""
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """The rows of a shard that need not be labelled. Keys are row numbers within the shard.

    Attributes:
        duplicates: Rows whose id occurs earlier -> place of the first occurrence.
        known: `row, label_id, score, runner_up, margin, logits, probabilities`: rows whose text was labelled in an
            earlier night. The last four are null if that night did not write them.
        copies: Rows whose text occurs earlier in this night -> name of that shard.
    """

    duplicates: Mapping[int, str]
    known: pa.Table
    copies: Mapping[int, str]
