"""Bootstrap intervals of F1 scores: the range in which a score would fall for other papers of the same kind."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specter_batch.metrics.f1 import Floats, Ints, label_f1, macro_f1

RESAMPLES = 1000
LEVEL = 0.95
# Most numbers of one block of resamples: 64 MiB.
_BLOCK_NUMBERS = 2**23


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A percentile bootstrap interval, with everything needed to compute it again."""

    low: float
    high: float
    level: float
    resamples: int
    seed: int

    @classmethod
    def of(cls, values: Floats, *, level: float, seed: int) -> "Interval":
        """Return the percentile interval of the values of all resamples, `(resamples,)`."""
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        return cls(low=float(low), high=float(high), level=level, resamples=len(values), seed=seed)


def resampled_cells(cells: Ints, *, seed: int, resamples: int) -> Iterator[Floats]:
    """Yield blocks of resamples `(block, n_cells)`: the number of papers that each resample draws from each cell.

    Papers in the same cell are equal for a score. Drawing papers with replacement is therefore the same as drawing the
    number of papers in each cell from a multinomial distribution. This needs only counts, no papers and no scipy.
    scipy.stats.bootstrap would hold an index for every paper of every resample.

    Args:
        cells: Number of papers in each cell, `(n_cells,)`, with at least one paper.
        seed: Random seed of the resamples.
        resamples: Number of resamples.
    """
    papers, random = int(cells.sum()), np.random.default_rng(seed)
    # Blocks of any size give the same resamples: each row is drawn after the row before it.
    block = max(1, _BLOCK_NUMBERS // len(cells))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        yield random.multinomial(papers, cells / papers, size=size).astype(np.float64)


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
    scores = [macro_f1(*counts) for counts in _resampled_counts(confusion, seed=seed, resamples=resamples)]
    return Interval.of(np.concatenate(scores), level=level, seed=seed) if scores else None


def label_f1_intervals(
    confusion: Ints, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[Interval | None, ...]:
    """Return the percentile interval of the F1 of each label, from the resamples of `macro_f1_interval`.

    A resample in which a label is neither a true nor a predicted label says nothing about it and is left out. The
    interval is None for a label that occurs in no resample.

    Args:
        confusion: Number of papers by true label (rows) and predicted label (columns), `(n_labels, n_labels)`.
        seed: Random seed of the resamples.
        resamples: Number of resamples.
        level: Share of the resamples' scores that lie inside the interval, 0 to 1.
    """
    found: list[list[Floats]] = [[] for _ in confusion]
    for true_positives, support, predicted in _resampled_counts(confusion, seed=seed, resamples=resamples):
        f1, occurs = label_f1(true_positives, support, predicted), (support + predicted) > 0
        for label, scores in enumerate(found):
            scores.append(f1[occurs[:, label], label])
    every = [np.concatenate(scores) if scores else np.zeros(0) for scores in found]
    return tuple(Interval.of(scores, level=level, seed=seed) if len(scores) else None for scores in every)


def _resampled_counts(confusion: Ints, *, seed: int, resamples: int) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Yield true positives, true labels and predicted labels of blocks of resamples, each `(block, n_labels)`."""
    true, predicted = np.nonzero(confusion)
    if not len(true):
        return
    labels = np.arange(len(confusion))
    is_true, is_predicted = true[:, None] == labels, predicted[:, None] == labels
    for drawn in resampled_cells(confusion[true, predicted], seed=seed, resamples=resamples):
        yield drawn @ (is_true & is_predicted), drawn @ is_true, drawn @ is_predicted
