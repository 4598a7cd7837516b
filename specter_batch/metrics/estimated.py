"""An estimate of accuracy and macro F1 without true labels, from calibrated probabilities.

The method is confidence-based performance estimation (CBPE). If the probabilities are calibrated, the expected number
of right labels is the sum of the scores, and the expected confusion matrix follows from all probabilities.
Source: NannyML, *How CBPE works*, https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html.

Where it fails: probabilities are calibrated for papers like the validation papers. For papers of another kind, a model
is often too confident, and the estimate is too high (J. Białek, J. Kivimäki, W. Kuberski and N. Perrakis, *Estimating
Model Performance Under Covariate Shift Without Labels*, 2024, https://arxiv.org/abs/2401.08348; D. Guillory et al.,
*Predicting with Confidence on Unseen Distributions*, ICCV 2021, https://arxiv.org/abs/2107.03315).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.expected_sums import ExpectedSums
from specter_batch.metrics.f1 import Floats
from specter_batch.metrics.score_report import EstimatedScores

# 95 % of a normal distribution lie within this many standard deviations.
Z_95 = 1.96
RESAMPLES = 500
SEED = 0


def estimated_scores(sums: ExpectedSums, predicted: Sequence[int], *, validation_papers: int) -> EstimatedScores | None:
    """Estimate accuracy and macro F1; None if there are no papers.

    The interval covers two kinds of chance: which of tonight's labels are right, given their probabilities, and how
    well the validation papers could show that the probabilities are calibrated. It does not cover a change of the kind
    of papers.

    Args:
        sums: Sums over the probabilities of the papers.
        predicted: Number of papers by predicted label, `(n_labels,)`.
        validation_papers: Number of papers that the model was calibrated on.
    """
    counts = _Expected(
        predicted=np.array(predicted, dtype=np.float64),
        hits=np.array(sums.expected_hits, dtype=np.float64),
        papers=np.array(sums.expected_papers, dtype=np.float64),
    )
    n = int(counts.predicted.sum())
    if not n:
        return None
    f1, occurs = counts.f1(counts.hits, counts.misses)
    accuracy, macro = float(counts.hits.sum()) / n, _mean(f1, occurs)
    # The gap between scores and accuracy is known only as well as the validation papers could show it. The variance of
    # a mean over that many papers is therefore added to the variance of the mean over tonight's papers.
    reach = Z_95 * math.sqrt(1 + n / validation_papers)
    off, macro_off = reach * math.sqrt(max(sums.score_variance, 0.0)) / n, reach * counts.macro_f1_deviation()
    return EstimatedScores(
        papers=n,
        accuracy=min(accuracy, 1.0),
        accuracy_low=max(accuracy - off, 0.0),
        accuracy_high=min(accuracy + off, 1.0),
        macro_f1=min(macro, 1.0),
        macro_f1_low=max(macro - macro_off, 0.0),
        macro_f1_high=min(macro + macro_off, 1.0),
        f1=tuple(float(one) if known > 0.5 else None for one, known in zip(f1, occurs, strict=True)),
    )


@dataclass(frozen=True, kw_only=True)
class _Expected:
    """Numbers of papers by label, `(n_labels,)`: predicted, expected to be right, and expected to have the label."""

    predicted: Floats
    hits: Floats
    papers: Floats

    @property
    def misses(self) -> Floats:
        """Expected number of papers that truly have a label and are predicted to have another one."""
        return np.asarray(np.maximum(self.papers - self.hits, 0))

    def f1(self, hits: npt.NDArray[np.float64], misses: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
        """Return the F1 of each label, and the probability that the label occurs, both `(..., n_labels)`."""
        both = self.predicted + hits + misses
        f1 = np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)
        # The number of papers that truly have a label is about Poisson, so this is the probability of at least one.
        return f1, np.where(self.predicted > 0, 1.0, -np.expm1(-np.maximum(self.papers, 0.0)))

    def macro_f1_deviation(self) -> float:
        """Return the standard deviation of the macro F1 over random draws of which labels are right."""
        rng = np.random.default_rng(SEED)
        right = np.clip(self.hits / np.maximum(self.predicted, 1), 0, 1)
        shape = (RESAMPLES, len(self.predicted))
        hits = rng.binomial(self.predicted.astype(np.int64), right, size=shape).astype(np.float64)
        misses = rng.poisson(self.misses, size=shape).astype(np.float64)
        f1, occurs = self.f1(hits, misses)
        return float(np.std([_mean(one, occurs) for one in f1]))


def _mean(f1: npt.NDArray[np.float64], occurs: npt.NDArray[np.float64]) -> float:
    return float((f1 * occurs).sum() / max(occurs.sum(), 1e-12))
