"""Selective classification: the precision that is gained by keeping only the labels with a high score."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.f1 import Floats, Ints, wilson

# One point for each percent of the papers, which is as fine as a picture can show.
N_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A point of the curve.

    Attributes:
        coverage: Share of the papers that are kept.
        risk: Share of the kept papers whose label is wrong.
        threshold: Lowest score that is kept.
    """

    coverage: float
    risk: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The lowest threshold at which the kept papers reach a precision.

    Attributes:
        precision: The precision that was asked for.
        threshold: Lowest score that is kept; None if no threshold reaches the precision.
        coverage: Share of the papers that are kept.
        papers: Number of papers that are kept.
        reached: Precision of the papers that are kept; None if no threshold reaches the wanted precision.
        reached_interval: 95 % interval of `reached` (Wilson 1927), low and high.
        told: The result as a sentence.
    """

    precision: float
    threshold: float | None
    coverage: float
    papers: int
    reached: float | None
    reached_interval: tuple[float, float] | None
    told: str


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """The risk-coverage curve (El-Yaniv & Wiener 2010): papers in the order of their scores, the highest first.

    Attributes:
        threshold: Score of each paper, `(n,)` float64.
        accepted: Number of papers with at least this score, `(n,)` int64. Papers of equal score are accepted together.
        wrong: Number of the accepted papers whose label is wrong, `(n,)` int64.
    """

    threshold: Floats
    accepted: Ints
    wrong: Ints

    @classmethod
    def of(cls, right: npt.NDArray[np.bool_], scores: Floats) -> "RiskCoverage":
        """Compute the curve of at least one paper from `right` (the label is right) and `scores`, both `(n,)`."""
        order = np.argsort(-scores, kind="stable")
        threshold = scores[order]
        accepted = np.searchsorted(-threshold, -threshold, side="right").astype(np.int64)
        wrong = np.cumsum(~right[order])[accepted - 1]
        return cls(threshold=threshold, accepted=accepted, wrong=wrong.astype(np.int64))

    @property
    def risk(self) -> Floats:
        """Share of wrong labels among the accepted papers, `(n,)` float64."""
        return np.asarray(self.wrong / self.accepted)

    @property
    def area(self) -> float:
        """The area under the curve, AURC: the mean risk over the papers' thresholds (Geifman & El-Yaniv 2017)."""
        return float(self.risk.mean())

    def points(self) -> tuple[CurvePoint, ...]:
        """Return up to `N_POINTS` points of the curve, from the papers with the highest scores to all papers."""
        n = len(self.accepted)
        kept = np.unique(np.ceil(np.linspace(0, n, min(n, N_POINTS) + 1)[1:] - 1e-9).astype(np.int64) - 1)
        kept = kept[np.unique(self.accepted[kept], return_index=True)[1]]
        return tuple(
            CurvePoint(
                coverage=float(self.accepted[i] / n), risk=float(self.risk[i]), threshold=float(self.threshold[i])
            )
            for i in kept
        )

    def operating_point(self, precision: float) -> OperatingPoint:
        """Return the lowest threshold at which the accepted papers reach a precision."""
        precisions = (self.accepted - self.wrong) / self.accepted  # not 1 - risk: 19 of 20 must reach 0.95
        enough = np.flatnonzero(precisions >= precision)
        if not len(enough):
            best = int(np.flatnonzero(precisions == precisions.max())[-1])
            return OperatingPoint(
                precision=precision,
                threshold=None,
                coverage=0.0,
                papers=0,
                reached=None,
                reached_interval=None,
                told=f"No threshold reaches a precision of {precision:g}: the highest is {precisions[best]:.4f}, "
                f"at a score of at least {self.threshold[best]:.4f} and a coverage of {self._coverage(best):.1%}.",
            )
        last = int(enough[-1])
        reached, papers = float(precisions[last]), int(self.accepted[last])
        low, high = wilson(reached, papers)
        return OperatingPoint(
            precision=precision,
            threshold=float(self.threshold[last]),
            coverage=self._coverage(last),
            papers=papers,
            reached=reached,
            reached_interval=(low, high),
            told=f"Of the {papers:,} papers with a score of at least {self.threshold[last]:.4f} "
            f"({self._coverage(last):.1%} of all), {reached:.2%} are labelled right "
            f"(95 % interval {low:.2%} to {high:.2%}).",
        )

    def _coverage(self, i: int) -> float:
        return float(self.accepted[i] / len(self.accepted))
