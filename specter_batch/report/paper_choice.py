"""Chooses the papers that a page shows behind its figures: at most 20 for each cell and for each bar.

Papers are added in parts of any size, and only those that will be shown are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.metrics.f1 import Floats, Ints

MAX_IN_GROUP = 20
# Papers on one page, and cells that have a list of papers. With these numbers the papers take about 1.3 MB.
MAX_SHOWN, MAX_CELLS = 3_000, 800


def allotted(sizes: Ints, *, budget: int, most: int = MAX_IN_GROUP) -> Ints:
    """Return how many papers of each group are shown, `(n_groups,)`: together at most `budget`.

    Every group gets the same number if it has as many papers. What is left of the budget goes to the largest groups,
    one paper each. So large groups are not left out if there are too many groups for the budget.

    Args:
        sizes: Number of papers in each group, `(n_groups,)`.
        budget: Most papers of all groups together.
        most: Most papers of one group.
    """
    each = next((k for k in range(most, 0, -1) if np.minimum(sizes, k).sum() <= budget), 0)
    shown = np.minimum(sizes, each)
    if each < most:
        larger = np.flatnonzero(sizes > each)
        larger = larger[np.argsort(-sizes[larger], kind="stable")]
        shown[larger[: budget - int(shown.sum())]] += 1
    return np.asarray(shown, dtype=np.int64)


class BestOfGroups:
    """Keeps the papers with the lowest keys of each group. Among equal keys the paper that was added first wins.

    Args:
        limits: Number of papers to keep in each group, `(n_groups,)`.
    """

    def __init__(self, limits: Ints) -> None:
        self._limits = limits
        self._highest = np.where(limits > 0, np.inf, -np.inf)  # only papers below this key can still be taken
        self._groups, self._keys = np.zeros(0, np.int64), np.zeros(0)
        self._papers: pa.Table | None = None

    def add(self, groups: Ints, keys: Floats, papers: pa.Table) -> None:
        """Add papers with their groups `(n,)` and keys `(n,)`."""
        wanted = np.flatnonzero(keys < self._highest[groups])
        if not len(wanted):
            return
        chosen = papers.take(wanted)
        self._papers = chosen if self._papers is None else pa.concat_tables([self._papers, chosen])
        self._groups = np.concatenate([self._groups, groups[wanted]])
        self._keys = np.concatenate([self._keys, keys[wanted]])
        order = np.lexsort((self._keys, self._groups))  # a stable sort, so earlier papers stay in front
        ordered = self._groups[order]
        rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        order = np.sort(order[rank < self._limits[ordered]])
        self._papers = self._papers.take(order).combine_chunks()
        self._groups, self._keys = self._groups[order], self._keys[order]
        full = np.bincount(self._groups, minlength=len(self._limits)) >= self._limits
        highest = np.full(len(self._limits), -np.inf)
        np.maximum.at(highest, self._groups, self._keys)
        self._highest[full] = highest[full]

    def rows(self) -> tuple[pa.Table | None, Mapping[int, Ints]]:
        """Return all papers that are kept, and for each group the rows of its papers, the lowest key first."""
        order = np.lexsort((self._keys, self._groups))
        groups, starts = np.unique(self._groups[order], return_index=True)
        parts = np.split(order, starts[1:]) if len(groups) else []
        return self._papers, {int(group): rows for group, rows in zip(groups, parts, strict=True)}


@dataclass(frozen=True, kw_only=True)
class GroupLimits:
    """How many papers there are in each group, and how many of them a page shows.

    Attributes:
        cells: Number of scored papers by true and predicted label, `(n_labels, n_labels)`.
        labels: Number of papers by predicted label, `(n_labels,)`.
    """

    cells: Ints
    labels: Ints

    @cached_property
    def errors(self) -> Ints:
        """Number of scored papers by label that have it as true or predicted label, but not as both, `(n_labels,)`."""
        hits = np.diagonal(self.cells)
        return np.asarray(self.cells.sum(axis=0) + self.cells.sum(axis=1) - 2 * hits)

    @cached_property
    def shown_bars(self) -> Ints:
        """Number of papers to show by label, then number of errors to show by label, `(2 * n_labels,)`."""
        return allotted(np.concatenate([self.labels, self.errors]), budget=MAX_SHOWN // 2)

    @cached_property
    def shown_cells(self) -> Ints:
        """Number of papers to show by cell, `(n_labels * n_labels,)`, row by row; 0 for all but the largest cells."""
        sizes = self.cells.ravel().copy()
        sizes[np.argsort(-sizes, kind="stable")[MAX_CELLS:]] = 0
        return allotted(sizes, budget=MAX_SHOWN - int(self.shown_bars.sum()))

    @property
    def cells_left_out(self) -> int:
        """Number of cells that have papers and show none."""
        return int(((self.cells.ravel() > 0) & (self.shown_cells == 0)).sum())


class PaperChooser:
    """Chooses the papers behind the cells of the confusion matrix and behind the bars of the labels.

    Errors are shown with the most confident first, and papers by label with the least certain first.

    Args:
        limits: How many papers each group shows.
    """

    def __init__(self, limits: GroupLimits) -> None:
        self._n_labels = len(limits.labels)
        self.limits = limits
        labels, errors = np.split(limits.shown_bars, 2)
        self.cells, self.labels = BestOfGroups(limits.shown_cells), BestOfGroups(labels)
        self.errors = BestOfGroups(errors)

    def add(
        self, papers: pa.Table, *, true: Ints, predicted: Ints, score: Floats, margin: npt.NDArray[np.float64]
    ) -> None:
        """Add papers.

        Args:
            papers: Table with a row for each paper; its columns are those that the page shows.
            true: True label ids, `(n,)`; -1 for papers that are not scored.
            predicted: Predicted label ids, `(n,)`.
            score: Calibrated probability of the predicted label, `(n,)`.
            margin: Probability of the predicted label minus that of the runner-up, `(n,)`; NaN where it is unknown.
        """
        # A paper without a margin comes after all papers that have one.
        certainty = np.where(np.isnan(margin), 1 + score, margin)
        self.labels.add(predicted, certainty, papers)
        scored = np.flatnonzero(true >= 0)
        wrong = true != predicted
        keys = np.where(wrong, -score, certainty)
        self.cells.add((true * self._n_labels + predicted)[scored], keys[scored], papers.take(scored))
        errors = scored[wrong[scored]]
        both = np.concatenate([true[errors], predicted[errors]])
        self.errors.add(both, np.tile(-score[errors], 2), papers.take(np.tile(errors, 2)))
