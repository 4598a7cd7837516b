"""Messages between the driver and its workers. All of them can be sent to another process or machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specter_batch.errors import ShardError
from specter_batch.graph_names import Precision, TokenizerChoice
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.ranking import Predictions
from specter_batch.papers.parquet import PaperBatch
from specter_batch.storage.location import Location
from specter_jobs.label.screened_shard import AuditAnswers, ScreenedShard
from specter_jobs.plan.audit_size import AuditChoice
from specter_jobs.plan.decisions import Decisions, DeduplicatedShard
from specter_jobs.plan.sections import LabelRules
from specter_jobs.plan.shard_keys import RunKeys, ShardRun
from specter_jobs.workers.events import Event

# Maximum number of shards in a worker: one is screened and one is tokenized while the model labels a third. While
# Python screens, a core is free for the tokenizer. More shards would only need more memory.
SHARDS_AT_ONCE = 3


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """The bundle, device and settings of a worker.

    Attributes:
        place: Folder or URL from which the worker opens the bundle.
        bundle: The bundle as the driver opened it. The worker compares the two.
        graph: Graph to run; None for the device's default.
        rules: Settings that decide which papers are labelled.
        device: Device that the worker's session runs on.
        threads: Number of papers labelled at once on a CPU.
        audit: Whether papers may be labelled by the fp32 graph too.
        tokenizer: Package that makes token ids.
    """

    place: Location
    bundle: ModelBundle
    graph: Precision | None
    rules: LabelRules
    device: Device
    threads: int
    audit: bool = False
    tokenizer: TokenizerChoice = "auto"


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One shard to label.

    Attributes:
        number: Position of the shard in the plan.
        name: Name of the shard.
        papers: Papers of the shard if they are in memory. If None, the worker reads them.
        unanswered: Hashes of texts that the model labels here although they occur in an earlier shard, because that
            shard has no label for them.
        embeddings: Whether the vectors of the papers are wanted too.
        audit: Which papers are labelled by the fp32 graph too; None for no paper.
    """

    number: int
    name: str
    deduplicated: DeduplicatedShard
    decisions: Decisions
    papers: PaperBatch | None = None
    unanswered: frozenset[str] = frozenset()
    embeddings: bool = False
    audit: AuditChoice | None = None


@dataclass(frozen=True, kw_only=True)
class ShardAnswer:
    """A worker's answer for a shard.

    Attributes:
        predictions: Predictions of the papers `screened.fresh`, in their order.
        seconds: Time since the worker was free for the shard.
        model_seconds: Part of `seconds` in which the model ran.
        max_batch_tokens: Maximum tokens of a batch on CUDA, smaller than at the start if memory was short; None on a
            CPU.
        audit: Labels of the fp32 graph; None if there is no audit.
        token_differences: Number of compared texts to which the fast tokenizer gave other ids. If there are any, all
            ids of the shard are those of `tokenizers`.
        logs: Log lines of the worker: level, event and fields.
    """

    screened: ScreenedShard
    predictions: Predictions
    seconds: float
    model_seconds: float
    max_batch_tokens: int | None
    audit: AuditAnswers | None = None
    token_differences: int = 0
    logs: Sequence[tuple[int, str, Mapping[str, object]]] = ()


# Workers read the keys of all shards before they label any.
WorkerTask = ShardTask | ShardRun
WorkerOutcome = ShardAnswer | RunKeys | ShardError
WorkerEvent = Event[WorkerOutcome]
