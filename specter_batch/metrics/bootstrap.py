"""How far a macro F1 may be from that of other papers of the same kind: its bootstrap interval."""

from dataclasses import dataclass

import numpy as np

from specter_batch.metrics.f1 import Ints, macro_f1

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A percentile bootstrap interval, and all that is needed to compute it again."""

    low: float
    high: float
    level: float
    resamples: int
    seed: int


def macro_f1_interval(
    confusion: Ints, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval | None:
    """Return the percentile interval of the macro F1 (Efron & Tibshirani 1993, ch. 13); None without papers.

    Each resample draws as many papers as there are, with replacement, and is scored like any other papers: over the
    labels that occur in it.

    Args:
        confusion: `(n_labels, n_labels)` papers by true label (rows) and predicted label (columns).
        seed: Of the draws.
        resamples: How often papers are drawn.
        level: Share of the resamples' scores that lie inside.
    """
    true, predicted = np.nonzero(confusion)
    cells = confusion[true, predicted]
    papers = int(cells.sum())
    if not papers:
        return None
    # Papers of one cell are alike to an F1, so to draw papers is to draw how many fall into each cell: a multinomial.
    # scipy.stats.bootstrap would hold an index per resample and paper and count each resample's labels anew; the
    # counts alone need no papers, so a tally is enough, and no scipy.
    drawn = np.random.default_rng(seed).multinomial(papers, cells / papers, size=resamples).astype(np.float64)
    labels = np.arange(len(confusion))
    is_true, is_predicted = true[:, None] == labels, predicted[:, None] == labels
    scores = macro_f1(drawn @ (is_true & is_predicted), drawn @ is_true, drawn @ is_predicted)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level, resamples=resamples, seed=seed)
