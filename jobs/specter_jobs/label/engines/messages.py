"""What the driver gives its workers and gets from them; all of it can be sent to another process or machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specter_batch.errors import ShardError
from specter_batch.graph_names import Precision
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.ranking import Predictions
from specter_batch.papers.parquet import PaperBatch
from specter_batch.storage.location import Location
from specter_jobs.label.screened_shard import ScreenedShard
from specter_jobs.plan.decisions import Decisions, DeduplicatedShard
from specter_jobs.plan.sections import LabelRules
from specter_jobs.workers.events import Event

# Most shards that a worker is given at once: one is screened, one tokenized, while the model works on a third. Python's
# own code in the first leaves a core to the tokenizer in the second. More would only hold more papers in memory.
SHARDS_AT_ONCE = 3


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What a worker is for.

    Attributes:
        place: Where the worker opens the bundle.
        bundle: The bundle as the driver opened it; the worker compares the two.
        graph: The graph to run instead of the device's own choice.
        rules: Which papers are labelled.
        device: The device that the worker's session runs on.
        threads: Papers labelled at once on a CPU.
    """

    place: Location
    bundle: ModelBundle
    graph: Precision | None
    rules: LabelRules
    device: Device
    threads: int


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One shard to label.

    Attributes:
        number: The shard's position in the plan.
        name: The shard's name.
        papers: The papers of the shard, if they are in memory; else the worker reads them.
        unanswered: Hashes of texts that the model labels here although an earlier shard has them, because that shard
            has no label for them.
    """

    number: int
    name: str
    deduplicated: DeduplicatedShard
    decisions: Decisions
    papers: PaperBatch | None = None
    unanswered: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class ShardAnswer:
    """What a worker found out about a shard.

    Attributes:
        predictions: Those of `screened.fresh`, in its order.
        seconds: From the moment the worker was free for the shard.
        model_seconds: Of these, those in which the model was at work.
        max_batch_tokens: The worker's budget on CUDA, less than at the start where memory was short; None on a CPU.
        logs: Level, event and fields of what the worker logged.
    """

    screened: ScreenedShard
    predictions: Predictions
    seconds: float
    model_seconds: float
    max_batch_tokens: int | None
    logs: Sequence[tuple[int, str, Mapping[str, object]]] = ()


ShardEvent = Event[ShardAnswer | ShardError]
