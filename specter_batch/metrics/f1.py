"""F1 and calibration, computed from sums that can be added up over shards."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.score_report import N_SCORE_BINS, LabelF1, ReliabilityBin
from specter_batch.papers.labels import LabelSet

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def softmax(logits: npt.NDArray[Any], *, temperature: float = 1.0) -> Floats:
    """Return probabilities `(n, n_labels)` of logits `(n, n_labels)` divided by a temperature (Guo et al. 2017)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def margins(logits: npt.NDArray[Any]) -> Floats:
    """Return the difference `(n,)` between the highest and the second highest of the logits `(n, n_labels)`."""
    top_two = np.partition(logits.astype(np.float64), -2, axis=1)[:, -2:]
    return np.asarray(top_two[:, 1] - top_two[:, 0])


def score_bins(scores: Floats) -> Ints:
    """Return the calibration bin, 0 to `N_SCORE_BINS - 1`, of each score in [0, 1]."""
    return np.clip((scores * N_SCORE_BINS).astype(np.int64), 0, N_SCORE_BINS - 1)


def macro_f1(true_positives: npt.NDArray[Any], support: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> Floats:
    """Return the mean F1 `(...)` over the labels that occur as true or predicted labels; 0 if no label occurs.

    Args:
        true_positives: Number of papers with the right label, by label, `(..., n_labels)`.
        support: Number of papers by true label, `(..., n_labels)`.
        predicted: Number of papers by predicted label, `(..., n_labels)`.
    """
    occurs = (support + predicted) > 0
    return _ratio(label_f1(true_positives, support, predicted).sum(axis=-1), occurs.sum(axis=-1))


def label_f1(true_positives: npt.NDArray[Any], support: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> Floats:
    """Return the F1 of each label `(..., n_labels)`, from arguments as for `macro_f1`; 0 if it does not occur."""
    return _ratio(2 * true_positives, support + predicted)


def top_k_accuracy(logits: npt.NDArray[Any], true: Ints, *, k: int) -> float:
    """Return the share of papers whose true label is among the `k` with the highest logits `(n, n_labels)`.

    Among equal logits the label with the lower id comes first, as in the prediction of a label.
    """
    own = np.take_along_axis(logits, true[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < true[:, None]
    rank = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
    return float((rank < k).mean())


def wilson(share: float, n: int, *, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % score interval, low and high, of a share of `n` items (E. B. Wilson, 1927)."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Sums over labelled papers from which all metrics are computed. The tallies of parts can be added.

    Attributes:
        confusion: Number of papers by true label (rows) and predicted label (columns), `(n_labels, n_labels)` int64.
        bin_papers: Number of papers by score bin, `(N_SCORE_BINS,)` int64.
        bin_correct: Number of papers with the right label, by score bin, `(N_SCORE_BINS,)` int64.
        bin_score: Sum of the papers' scores, by score bin, `(N_SCORE_BINS,)` float64.
    """

    confusion: Ints
    bin_papers: Ints
    bin_correct: Ints
    bin_score: Floats

    @classmethod
    def empty(cls, n_labels: int) -> "Tally":
        """Return a tally in which all sums are 0."""
        return cls.count(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), n_labels=n_labels)

    @classmethod
    def count(cls, true: Ints, predicted: Ints, scores: Floats, *, n_labels: int) -> "Tally":
        """Return the tally of papers from their true and predicted label ids `(n,)` and their scores `(n,)`."""
        cells = np.bincount(true * n_labels + predicted, minlength=n_labels * n_labels)
        bins = score_bins(scores)
        return cls(
            confusion=cells.reshape(n_labels, n_labels),
            bin_papers=np.bincount(bins, minlength=N_SCORE_BINS),
            bin_correct=np.bincount(bins[true == predicted], minlength=N_SCORE_BINS),
            bin_score=np.bincount(bins, weights=scores, minlength=N_SCORE_BINS).astype(np.float64),
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            confusion=self.confusion + other.confusion,
            bin_papers=self.bin_papers + other.bin_papers,
            bin_correct=self.bin_correct + other.bin_correct,
            bin_score=self.bin_score + other.bin_score,
        )

    def as_json(self) -> dict[str, Any]:
        """Return a compact form for the ledger, in which most tallies are empty and the others are mostly zeros."""
        values: dict[str, Any] = {"n_labels": len(self.confusion)}
        if self.confusion.any():
            cells = np.flatnonzero(self.confusion)
            values |= {"cells": cells.tolist(), "cell_papers": self.confusion.ravel()[cells].tolist()}
            values |= {name: getattr(self, name).tolist() for name in ("bin_papers", "bin_correct", "bin_score")}
        return values

    @property
    def adds_up(self) -> bool:
        """Return whether the sums agree with each other."""
        bins = (self.bin_papers, self.bin_correct, self.bin_score)
        return bool(
            all(sums.shape == (N_SCORE_BINS,) for sums in bins)
            and (self.confusion >= 0).all()
            and (self.bin_correct >= 0).all()
            and (self.bin_correct <= self.bin_papers).all()
            and self.bin_papers.sum() == self.confusion.sum()
            and self.bin_correct.sum() == np.trace(self.confusion)
            and (self.bin_score >= 0).all()
            and (self.bin_score <= self.bin_papers + 1e-6).all()
        )

    def reliability(self) -> tuple[ReliabilityBin, ...]:
        """Return the points of a reliability diagram, one for each score bin."""
        return tuple(
            ReliabilityBin(
                start=i / N_SCORE_BINS,
                end=(i + 1) / N_SCORE_BINS,
                papers=int(papers),
                accuracy=float(self.bin_correct[i] / papers) if papers else None,
                mean_score=float(self.bin_score[i] / papers) if papers else None,
            )
            for i, papers in enumerate(self.bin_papers)
        )

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Tally":
        """Return the tally from the value that `as_json` returned."""
        empty = cls.empty(value["n_labels"])
        if "cells" not in value:
            return empty
        empty.confusion.flat[value["cells"]] = value["cell_papers"]
        return cls(
            confusion=empty.confusion,
            bin_papers=np.array(value["bin_papers"], dtype=np.int64),
            bin_correct=np.array(value["bin_correct"], dtype=np.int64),
            bin_score=np.array(value["bin_score"], dtype=np.float64),
        )


@dataclass(frozen=True, kw_only=True)
class F1Report:
    """Scores over all labelled papers together.

    `macro_f1` is the unweighted mean F1 over the labels that occur as true or predicted labels, as in
    `sklearn.metrics.f1_score(..., average="macro")`. `expected_calibration_error` is computed as in Guo et al. 2017
    with `N_SCORE_BINS` bins.
    """

    papers: int
    accuracy: float
    macro_f1: float
    micro_f1: float
    weighted_f1: float
    expected_calibration_error: float
    per_label: tuple[LabelF1, ...]
    confusion: tuple[tuple[int, ...], ...]

    @classmethod
    def from_tally(cls, tally: Tally, labels: LabelSet) -> "F1Report":
        """Compute the scores from a tally; all scores are 0 if the tally is empty."""
        confusion = tally.confusion
        true_positives = np.diag(confusion).astype(np.float64)
        support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
        papers = int(confusion.sum())
        f1 = label_f1(true_positives, support, predicted)
        accuracy = float(true_positives.sum() / papers) if papers else 0.0
        gaps = np.abs(tally.bin_correct - tally.bin_score)
        precision, recall = _ratio(true_positives, predicted), _ratio(true_positives, support)
        return cls(
            papers=papers,
            accuracy=accuracy,
            macro_f1=float(macro_f1(true_positives, support, predicted)),
            micro_f1=accuracy,  # with one label a paper, a wrong label is one false positive and one false negative
            weighted_f1=float((f1 * support).sum() / papers) if papers else 0.0,
            expected_calibration_error=float(gaps.sum() / papers) if papers else 0.0,
            per_label=tuple(
                LabelF1(
                    label=name,
                    precision=float(precision[i]),
                    recall=float(recall[i]),
                    f1=float(f1[i]),
                    support=int(support[i]),
                    predicted=int(predicted[i]),
                )
                for i, name in enumerate(labels)
            ),
            confusion=tuple(tuple(int(cell) for cell in row) for row in confusion),
        )


def _ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> Floats:
    """Divide two arrays; the result is 0 where the denominator is 0."""
    return np.asarray(numerator / np.maximum(denominator, 1), dtype=np.float64)
