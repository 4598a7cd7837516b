"""The sums over papers from which accuracy and F1 are estimated without true labels."""

import math
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict


class ExpectedSums(BaseModel):
    """What calibrated probabilities say about the labels of some papers. The sums of parts can be added.

    Attributes:
        expected_hits: Expected number of right labels, by predicted label: the sum of the scores `(n_labels,)`.
        expected_papers: Expected number of papers that belong to each label: the sum of all papers' probabilities of
            the label `(n_labels,)`.
        score_variance: Sum of `score * (1 - score)` over the papers, which is the variance of the number of right
            labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    expected_hits: tuple[float, ...]
    expected_papers: tuple[float, ...]
    score_variance: float

    @classmethod
    def count(
        cls, label_id: npt.NDArray[np.int64], score: npt.NDArray[np.float64], probabilities: npt.NDArray[Any]
    ) -> Self:
        """Add up papers from their predicted labels `(n,)`, scores `(n,)` and probabilities `(n, n_labels)`."""
        n_labels = probabilities.shape[1]
        hits = np.bincount(label_id, weights=score, minlength=n_labels).astype(np.float64)
        return cls(
            expected_hits=tuple(hits.tolist()),
            expected_papers=tuple(probabilities.sum(axis=0).tolist()),
            score_variance=float((score * (1 - score)).sum()),
        )

    def __add__(self, other: Self) -> Self:
        return self.model_copy(
            update={
                "expected_hits": _added(self.expected_hits, other.expected_hits),
                "expected_papers": _added(self.expected_papers, other.expected_papers),
                "score_variance": self.score_variance + other.score_variance,
            }
        )

    def fits(self, label_papers: list[int]) -> bool:
        """Return whether these can be the sums of papers with these numbers of predicted labels, `(n_labels,)`."""
        papers, n_labels = sum(label_papers), len(label_papers)
        slack = 1e-4 * (papers + 1)  # probabilities that are stored as float32 do not add up to 1 exactly
        return (
            len(self.expected_hits) == len(self.expected_papers) == n_labels
            and all(0 <= hits <= n + slack for hits, n in zip(self.expected_hits, label_papers, strict=True))
            and min(self.expected_papers, default=0) >= 0
            and math.isclose(sum(self.expected_papers), papers, abs_tol=slack)
            and 0 <= self.score_variance <= papers / 4 + slack
        )


def _added(ours: tuple[float, ...], theirs: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a + b for a, b in zip(ours, theirs, strict=True))
