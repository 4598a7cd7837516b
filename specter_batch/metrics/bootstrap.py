"""The bootstrap interval of a macro F1: the range in which the score would fall for other papers of the same kind."""

from dataclasses import dataclass

import numpy as np

from specter_batch.metrics.f1 import Ints, macro_f1

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A percentile bootstrap interval, with everything needed to compute it again."""

    low: float
    high: float
    level: float
    resamples: int
    seed: int


def macro_f1_interval(
    confusion: Ints, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval | None:
    """Return the percentile interval of the macro F1 (Efron & Tibshirani 1993, ch. 13); None without papers.

    Each resample draws as many papers as there are, with replacement. Its macro F1 is the mean over the labels that
    occur in it.

    Args:
        confusion: Number of papers by true label (rows) and predicted label (columns), `(n_labels, n_labels)`.
        seed: Random seed of the resamples.
        resamples: Number of resamples.
        level: Share of the resamples' scores that lie inside the interval, 0 to 1.
    """
    true, predicted = np.nonzero(confusion)
    cells = confusion[true, predicted]
    papers = int(cells.sum())
    if not papers:
        return None
    # Papers in the same cell are equal for the F1. Drawing papers is therefore the same as drawing the number of papers
    # in each cell from a multinomial distribution. This needs only the counts of a tally, no papers and no scipy.
    # scipy.stats.bootstrap would hold an index for every paper of every resample.
    drawn = np.random.default_rng(seed).multinomial(papers, cells / papers, size=resamples).astype(np.float64)
    labels = np.arange(len(confusion))
    is_true, is_predicted = true[:, None] == labels, predicted[:, None] == labels
    scores = macro_f1(drawn @ (is_true & is_predicted), drawn @ is_true, drawn @ is_predicted)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level, resamples=resamples, seed=seed)
