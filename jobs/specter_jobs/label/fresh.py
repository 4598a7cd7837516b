"""What a run labelled itself."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """What this run labelled itself, as against what it found done.

    Attributes:
        seconds: Of labelling, the survey left out.
        model_seconds: Those in which a model was at work, added up over the workers.
        max_batch_tokens: The smallest budget of a CUDA worker at its last shard; None on a CPU.
    """

    shards: int
    papers: int
    seconds: float
    model_seconds: float
    max_batch_tokens: int | None
