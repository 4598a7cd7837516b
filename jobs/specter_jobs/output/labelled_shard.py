"""A labelled shard: its output tables and the sums that the report is made of."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.metrics.scores import Scores
from specter_jobs.output.title_only import TitleOnlySums


@dataclass(frozen=True, kw_only=True)
class LabelledShard:
    """A shard's outputs and the sums that the report is made of.

    Attributes:
        labels: `paper_id, label, label_id, score, text_hash, reused`, and `probabilities` on request.
        reused: How many of them took the label of an equal text.
        scores: Of the papers whose true label came with the input.
        unknown_labels: Labelled papers whose true label is not one of the model's; they are not scored.
        undecided: Papers too short to say whether they are in English, as in `ScreenedShard`.
        label_papers: `(n_labels,)` int64: papers by predicted label.
        bin_papers: `(N_SCORE_BINS,)` int64: papers by score.
        score_sum: Of all papers.
        title_only: Sums over the papers without abstract; None when there are none.
        seconds: That the shard took its worker.
        model_seconds: Of these, those in which the model was at work.
        max_batch_tokens: Of the worker, as in `ShardAnswer`.
    """

    labels: pa.Table
    reused: int
    rejects: pa.Table
    scores: Scores
    unknown_labels: int
    undecided: int
    label_papers: npt.NDArray[np.int64]
    bin_papers: npt.NDArray[np.int64]
    score_sum: float
    title_only: TitleOnlySums | None
    seconds: float
    model_seconds: float
    max_batch_tokens: int | None
