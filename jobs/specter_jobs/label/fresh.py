"""Figures of the papers that a run labelled itself, for each shard and in total."""

from dataclasses import dataclass

from specter_jobs.output.ledger_entry import LedgerEntry


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """Figures of this run, without shards that earlier runs had finished.

    Attributes:
        rewritten: Labels that were written again with other columns, without the model.
        seconds: Time of the labelling, without the deduplication.
        model_seconds: Time in which a model ran, added up over the workers.
        audit_seconds: The part of it in which the fp32 graph ran for the audit.
        max_batch_tokens: The smallest batch limit of all CUDA workers at their last shard; None on a CPU.
    """

    shards: int
    papers: int
    seconds: float
    model_seconds: float
    audit_seconds: float
    max_batch_tokens: int | None
    rewritten: int = 0


@dataclass(frozen=True, kw_only=True)
class FinishedShard:
    """A shard whose files and ledger entry are written.

    Attributes:
        entry: The ledger entry.
        model_seconds: Time in which the model ran.
        audit_seconds: The part of it in which the fp32 graph ran for the audit.
        max_batch_tokens: The worker's batch limit, as in `ShardAnswer`.
    """

    entry: LedgerEntry
    model_seconds: float
    audit_seconds: float
    max_batch_tokens: int | None
