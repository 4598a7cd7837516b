"""What a run labelled itself: shard by shard, and in all."""

from dataclasses import dataclass

from specter_jobs.output.ledger_entry import LedgerEntry


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """What this run labelled itself, as against what it found done.

    Attributes:
        rewritten: Labels that were written again with other columns, without the model.
        seconds: Time of the labelling, without the deduplication.
        model_seconds: Time in which a model ran, added up over the workers.
        max_batch_tokens: The smallest budget of a CUDA worker at its last shard; None on a CPU.
    """

    shards: int
    papers: int
    seconds: float
    model_seconds: float
    max_batch_tokens: int | None
    rewritten: int = 0


@dataclass(frozen=True, kw_only=True)
class FinishedShard:
    """A shard whose files and ledger entry are written.

    Attributes:
        entry: The ledger entry.
        model_seconds: Time in which the model ran.
        max_batch_tokens: The worker's budget, as in `ShardAnswer`.
    """

    entry: LedgerEntry
    model_seconds: float
    max_batch_tokens: int | None
