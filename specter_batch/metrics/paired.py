"""Comparison of two models on the same papers: paired bootstrap intervals, McNemar's test and differences by label.

Model A is the one to compare with, such as the model in use or a teacher. Model B is the new one. Every difference is
B minus A, so a positive difference means that B is better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.bootstrap import LEVEL, Interval, resampled_cells
from specter_batch.metrics.f1 import Floats, Ints, label_f1, macro_f1

RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class PairedScore:
    """One score of both models on the same papers.

    Attributes:
        a: Score of model A.
        b: Score of model B.
        difference: Score of B minus score of A.
        interval: Bootstrap interval of the difference.
    """

    a: float
    b: float
    difference: float
    interval: Interval

    @classmethod
    def of(cls, scores: Floats, interval: Interval) -> "PairedScore":
        """Return the score from those of A and B, `(2,)`, and the interval of the difference."""
        a, b = (float(score) for score in scores)
        return cls(a=a, b=b, difference=b - a, interval=interval)


@dataclass(frozen=True, kw_only=True)
class LabelDifference:
    """The F1 of one label, by both models.

    Attributes:
        label: Name of the label.
        papers: Number of papers that truly have the label.
        a: F1 of model A.
        b: F1 of model B.
        difference: F1 of B minus F1 of A.
        interval: Bootstrap interval of the difference; None if no paper has the label and no model predicts it. With
            20 labels, expect one interval that leaves out 0 by chance.
    """

    label: str
    papers: int
    a: float
    b: float
    difference: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """McNemar's test: is one model right more often than the other, on papers where only one of them is right?

    Attributes:
        only_a_right: Number of papers that only model A labels right.
        only_b_right: Number of papers that only model B labels right.
        p_value: Exact two-sided probability of numbers that differ as much, if both models were equally good.
    """

    only_a_right: int
    only_b_right: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Two models, compared on the same papers.

    Attributes:
        papers: Number of papers.
        macro_f1: Macro F1 of both models. Each is the mean over the labels that occur as true labels or as
            predictions of the model, as in a report of the model alone.
        accuracy: Accuracy of both models.
        agreement: Share of the papers that get the same label from both models.
        mcnemar: McNemar's test.
        per_label: F1 of each label, in the order of the label set.
    """

    papers: int
    macro_f1: PairedScore
    accuracy: PairedScore
    agreement: float
    mcnemar: McNemar
    per_label: tuple[LabelDifference, ...]


def difference_text(score: PairedScore) -> str:
    """Return a difference and its interval in words, such as `the difference is -0.0042 (95 % interval ...)`."""
    interval = score.interval
    return (
        f"the difference is {score.difference:+.4f} ({100 * interval.level:g} % interval {interval.low:+.4f} to "
        f"{interval.high:+.4f})"
    )


def compare_predictions(
    true: Ints,
    a: Ints,
    b: Ints,
    *,
    labels: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> PairedComparison | None:
    """Compare the labels that two models give to the same papers; None without papers.

    The intervals are percentile intervals of the paired bootstrap (Efron & Tibshirani 1993, ch. 13; Koehn 2004 for two
    models on one test set): each resample draws papers with replacement, and both models are scored on it.

    Args:
        true: True label ids, `(n_papers,)`.
        a: Label ids that model A predicted, `(n_papers,)`.
        b: Label ids that model B predicted, `(n_papers,)`.
        labels: Names of the labels, in the order of their ids.
        seed: Random seed of the resamples.
        resamples: Number of resamples.
        level: Share of the resamples' differences that lie inside an interval, 0 to 1.
    """
    if not len(true):
        return None
    cells = _Cells.of(true, a, b, n_labels=len(labels))
    whole = cells.scores(cells.papers[None, :].astype(np.float64))
    drawn = _Scores.joined(
        [cells.scores(block) for block in resampled_cells(cells.papers, seed=seed, resamples=resamples)]
    )

    def interval(differences: Floats) -> Interval:
        return Interval.of(differences, level=level, seed=seed)

    return PairedComparison(
        papers=len(true),
        macro_f1=PairedScore.of(whole.macro_f1[:, 0], interval(drawn.macro_f1[1] - drawn.macro_f1[0])),
        accuracy=PairedScore.of(whole.accuracy[:, 0], interval(drawn.accuracy[1] - drawn.accuracy[0])),
        agreement=float((a == b).mean()),
        mcnemar=mcnemar(true == a, true == b),
        per_label=tuple(
            LabelDifference(
                label=name,
                papers=int((true == number).sum()),
                a=float(whole.f1[0, 0, number]),
                b=float(whole.f1[1, 0, number]),
                difference=float(whole.f1[1, 0, number] - whole.f1[0, 0, number]),
                # A resample without papers of the label says nothing about it.
                interval=interval((drawn.f1[1] - drawn.f1[0])[drawn.occurs[:, number], number])
                if drawn.occurs[:, number].any()
                else None,
            )
            for number, name in enumerate(labels)
        ),
    )


def mcnemar(a_right: npt.NDArray[np.bool_], b_right: npt.NDArray[np.bool_]) -> McNemar:
    """Return McNemar's exact test of which papers each model labels right, both `(n_papers,)` (McNemar 1947).

    The papers that only one model labels right fall to either model like fair coin tosses if the models are equally
    good, so their number has a binomial distribution with the probability 0.5.
    """
    only_a, only_b = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    papers, fewer = only_a + only_b, min(only_a, only_b)
    # The probability of `fewer` or less, from the largest term downwards, relative to the largest term.
    tail = relative = 1.0
    for k in range(fewer, 0, -1):
        relative *= k / (papers - k + 1)
        tail += relative
        if relative < 1e-18 * tail:
            break
    log_largest = math.lgamma(papers + 1) - math.lgamma(fewer + 1) - math.lgamma(papers - fewer + 1)
    p_value = min(1.0, 2 * tail * math.exp(log_largest - papers * math.log(2)))
    return McNemar(only_a_right=only_a, only_b_right=only_b, p_value=p_value)


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """Scores of model A and model B in a block of resamples.

    Attributes:
        macro_f1: Macro F1, `(2, block)`.
        accuracy: Accuracy, `(2, block)`.
        f1: F1 by label, `(2, block, n_labels)`.
        occurs: Whether a paper has the label, or one of the models predicts it, `(block, n_labels)`.
    """

    macro_f1: Floats
    accuracy: Floats
    f1: Floats
    occurs: npt.NDArray[np.bool_]

    @classmethod
    def joined(cls, blocks: Sequence["_Scores"]) -> "_Scores":
        """Return the scores of all blocks together."""
        return cls(
            macro_f1=np.concatenate([block.macro_f1 for block in blocks], axis=1),
            accuracy=np.concatenate([block.accuracy for block in blocks], axis=1),
            f1=np.concatenate([block.f1 for block in blocks], axis=1),
            occurs=np.concatenate([block.occurs for block in blocks]),
        )


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Papers by true label and the labels that both models predict. All arrays are `(n_cells,)`."""

    papers: Ints
    true: Ints
    predicted: tuple[Ints, Ints]
    n_labels: int

    @classmethod
    def of(cls, true: Ints, a: Ints, b: Ints, *, n_labels: int) -> "_Cells":
        """Count the papers in each cell that holds a paper."""
        cells, papers = np.unique((true * n_labels + a) * n_labels + b, return_counts=True)
        predicted = (cells // n_labels % n_labels, cells % n_labels)
        return cls(papers=papers, true=cells // n_labels**2, predicted=predicted, n_labels=n_labels)

    def scores(self, drawn: Floats) -> _Scores:
        """Score both models on resamples, given as the number of papers drawn from each cell, `(block, n_cells)`."""
        labels = np.arange(self.n_labels)
        is_true = self.true[:, None] == labels
        support, papers = drawn @ is_true, int(self.papers.sum())
        occurs = support > 0
        macro, accuracy, by_label = [], [], []
        for ids in self.predicted:
            is_predicted = ids[:, None] == labels
            right, predicted = drawn @ (is_true & is_predicted), drawn @ is_predicted
            macro.append(macro_f1(right, support, predicted))
            accuracy.append(right.sum(axis=1) / papers)
            by_label.append(label_f1(right, support, predicted))
            occurs |= predicted > 0
        return _Scores(macro_f1=np.stack(macro), accuracy=np.stack(accuracy), f1=np.stack(by_label), occurs=occurs)
