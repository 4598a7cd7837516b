"""Assigns papers to parts: each part gets its share of each label, and papers of one component stay together.

Components of several papers come first, the largest ones first. Each goes to the part where it brings the counts of its
labels closest to the wanted ones (Pearson's chi-square). This is the greedy method of scikit-learn's
`StratifiedGroupKFold`, for parts of different sizes. Papers on their own then fill what is missing, label by label.
"""

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.f1 import Floats, Ints

TRAIN = 0

Parts = npt.NDArray[np.int8]


def assign(labels: Ints, components: Ints, shares: Floats, *, seed: int) -> Parts:
    """Return the part of each paper, `(n_papers,)`. Every label that occurs in any part occurs in the first one, too.

    Args:
        labels: Label ids of the papers, `(n_papers,)`.
        components: Component of each paper, `(n_papers,)`, numbered from 0 without gaps.
        shares: Share of the papers of each part, `(n_parts,)`, with the sum 1. The first part is that of training.
        seed: Random seed.
    """
    return _Assignment(labels, components, shares, seed=seed).run()


class _Assignment:
    """The state of an assignment: the part of each paper, and how many papers of each label a part has and wants."""

    def __init__(self, labels: Ints, components: Ints, shares: Floats, *, seed: int) -> None:
        self._labels, self._components, self._shares = labels, components, shares
        self._random = np.random.default_rng(seed)
        self._n_labels = int(labels.max()) + 1
        self._wanted = shares[:, None] * np.bincount(labels, minlength=self._n_labels)
        self._counts = np.zeros_like(self._wanted)
        self._parts = np.full(len(labels), -1, dtype=np.int8)
        sizes = np.bincount(components)
        self._order = np.argsort(components, kind="stable")
        self._ends = np.cumsum(sizes)
        self._sizes = sizes
        self._active = np.flatnonzero(shares > 0)

    def run(self) -> Parts:
        several = np.flatnonzero(self._sizes > 1)
        several = self._random.permutation(several)
        several = several[np.argsort(-self._sizes[several], kind="stable")]
        alone = self._alone_with_their_label()
        for component in several.tolist():
            rows = self._rows(component)
            ids, papers = np.unique(self._labels[rows], return_counts=True)
            self._give(rows, ids, papers, TRAIN if alone[component] else self._best(ids, papers))
        self._fill()
        self._move_into_training(several)
        return self._parts

    def _rows(self, component: int) -> Ints:
        end = self._ends[component]
        return self._order[end - self._sizes[component] : end]

    def _alone_with_their_label(self) -> npt.NDArray[np.bool_]:
        """Return for each component whether it has a label that no other component has."""
        pairs = np.unique(self._components * self._n_labels + self._labels)
        label, component = pairs % self._n_labels, pairs // self._n_labels
        single = np.bincount(label, minlength=self._n_labels)[label] == 1
        alone = np.zeros(len(self._sizes), dtype=np.bool_)
        alone[component[single]] = True
        return alone

    def _best(self, ids: Ints, papers: Ints) -> int:
        """Return the part where a component with this many papers of these labels lowers the chi-square most."""
        parts = self._active[:, None]
        wanted = self._wanted[parts, ids]
        change = (papers * (2 * (self._counts[parts, ids] - wanted) + papers) / wanted).sum(axis=1)
        return int(self._active[int(change.argmin())])

    def _give(self, rows: Ints, ids: Ints, papers: Ints, part: int) -> None:
        self._parts[rows] = part
        self._counts[part, ids] += papers

    def _fill(self) -> None:
        """Give the papers that are alone in their component to the parts that lack papers of their label."""
        alone = np.flatnonzero(self._parts < 0)
        alone = self._random.permutation(alone)
        alone = alone[np.argsort(self._labels[alone], kind="stable")]
        n_alone = np.bincount(self._labels[alone], minlength=self._n_labels)
        ends, carried = np.cumsum(n_alone), np.zeros(len(self._shares))
        # Rare labels come first, so that frequent ones can make up for what was rounded.
        for label in np.argsort(n_alone, kind="stable").tolist():
            count = int(n_alone[label])
            if not count:
                continue
            lacking = np.maximum(self._wanted[:, label] - self._counts[:, label], 0)
            ideal = count * (lacking / lacking.sum() if lacking.sum() else self._shares)
            given = self._rounded(ideal, carried, count, needs_training=not self._counts[TRAIN, label])
            carried += ideal - given
            rows = alone[ends[label] - count : ends[label]]
            self._parts[rows] = np.repeat(np.arange(len(given)), given)
            self._counts[:, label] += given

    @staticmethod
    def _rounded(ideal: Floats, carried: Floats, count: int, *, needs_training: bool) -> Ints:
        """Round shares of one label to whole papers, so that the errors of all labels together stay small."""
        given = np.floor(ideal + 1e-9).astype(np.int64)
        if needs_training and not given[TRAIN] and given.sum() == count:
            given[given.argmax()] -= 1
        lacking = ideal - given + carried
        lacking[ideal <= 0] = -np.inf
        if needs_training and not given[TRAIN]:
            lacking[TRAIN] = np.inf
        given[np.argsort(-lacking, kind="stable")[: count - int(given.sum())]] += 1
        return given

    def _move_into_training(self, several: Ints) -> None:
        """Move the smallest component of each label that training lacks."""
        for label in np.flatnonzero((self._counts.sum(axis=0) > 0) & (self._counts[TRAIN] == 0)).tolist():
            if self._counts[TRAIN, label]:
                continue  # it came with the component of another label
            component = min(
                (int(one) for one in several if (self._labels[self._rows(int(one))] == label).any()),
                key=lambda one: (int(self._sizes[one]), one),
            )
            rows = self._rows(component)
            ids, papers = np.unique(self._labels[rows], return_counts=True)
            self._counts[self._parts[rows[0]], ids] -= papers
            self._give(rows, ids, papers, TRAIN)
