"""A labelled shard: the tables of its files, and the sums that the ledger keeps of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.metrics.expected_sums import ExpectedSums
from specter_batch.metrics.scores import Scores
from specter_jobs.output.report_model.audit import AuditCounts
from specter_jobs.output.title_only import TitleOnlySums


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """How many labels lack values that the night they come from did not store.

    Attributes:
        without_margin: Papers whose runner-up and margin are not known.
        without_logits: Papers whose logits are not known; 0 if the label files have no logits.
    """

    without_margin: int
    without_logits: int


@dataclass(frozen=True, kw_only=True)
class ShardSums:
    """What the report needs to know of a shard.

    Attributes:
        reused: Papers that took the label of an equal text.
        gaps: How many labels lack values.
        rejects_by_reason: Rejected rows by reason, in the order of the reasons' names.
        scores: Scores of the papers whose true label came with the input.
        unknown_labels: Labelled papers whose true label is not one of the model's; they are not scored.
        undecided: Papers too short to say whether they are in English, as in `ScreenedShard`.
        label_papers: `(n_labels,)` int64: papers by predicted label.
        bin_papers: `(N_SCORE_BINS,)` int64: papers by score.
        score_sum: Sum of the scores of all papers.
        expected: What the probabilities say about how many labels are right; None if those of any paper are unknown.
        title_only: Sums over the papers without abstract; None when there are none.
        audit: What the fp32 graph said about some of the papers; None without an audit.
        token_differences: Compared texts to which the fast tokenizer gave other ids, as in `ShardAnswer`.
        seconds: Time that the worker spent on the shard.
        model_seconds: The part of it in which the model ran.
        audit_seconds: The part of that in which the fp32 graph ran for the audit.
        max_batch_tokens: The worker's budget, as in `ShardAnswer`.
    """

    reused: int
    gaps: Gaps
    rejects_by_reason: Mapping[str, int]
    scores: Scores
    unknown_labels: int
    undecided: int
    label_papers: npt.NDArray[np.int64]
    bin_papers: npt.NDArray[np.int64]
    score_sum: float
    expected: ExpectedSums | None
    title_only: TitleOnlySums | None
    audit: AuditCounts | None
    token_differences: int
    seconds: float
    model_seconds: float
    audit_seconds: float
    max_batch_tokens: int | None


@dataclass(frozen=True, kw_only=True)
class LabelledShard:
    """The result of labelling a shard.

    Attributes:
        labels: The labels, with the columns of `label_schema`.
        rejects: The rejected rows, with the columns of `REJECT_SCHEMA`.
        sums: Sums over both.
    """

    labels: pa.Table
    rejects: pa.Table
    sums: ShardSums
