import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.metrics.f1 import Ints
from specter_batch.training.papers.parts.assignment import assign

SHARES = np.array([0.7, 0.1, 0.2])


def table(labels: Ints, parts: Ints) -> Ints:
    n_labels = int(labels.max()) + 1
    return np.stack([np.bincount(labels[parts == part], minlength=n_labels) for part in range(3)])


def skewed_labels(n: int, n_labels: int, *, seed: int = 0) -> Ints:
    shares = 1 / np.arange(1, n_labels + 1)
    labels = np.random.default_rng(seed).choice(n_labels, n, p=shares / shares.sum())
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def test_papers_on_their_own_are_split_to_the_paper() -> None:
    labels = skewed_labels(5000, 20)
    found = table(labels, assign(labels, np.arange(5000), SHARES, seed=0))
    assert np.abs(found - SHARES[:, None] * found.sum(axis=0)).max() < 1
    assert found.sum(axis=1).tolist() == [3500, 500, 1000]


def test_many_rare_labels_do_not_move_the_sizes_of_the_parts() -> None:
    labels = np.repeat(np.arange(400), 3)
    found = table(labels, assign(labels, np.arange(1200), SHARES, seed=0))
    assert np.abs(found.sum(axis=1) - 1200 * SHARES).max() <= 1
    assert (found[0] >= 1).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_components_stay_together_and_training_has_every_label(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    labels = np.unique(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)), return_inverse=True)[1]
    components = np.unique(data.draw(st.lists(st.integers(0, n), min_size=n, max_size=n)), return_inverse=True)[1]
    possible = [(0.7, 0.1, 0.2), (0.5, 0.5, 0.0), (0.9, 0.0, 0.1), (0.1, 0.2, 0.7), (1e-13, 0.5, 0.5)]
    shares = np.array(data.draw(st.sampled_from(possible)))
    parts = assign(labels, components, shares, seed=data.draw(st.integers(0, 3)))
    assert set(parts.tolist()) <= set(np.flatnonzero(shares > 0).tolist())
    for component in range(int(components.max()) + 1):
        assert len(set(parts[components == component].tolist())) == 1
    assert set(labels[parts == 0].tolist()) == set(labels.tolist())


@pytest.mark.parametrize("n_groups", [300, 3000])
def test_groups_cost_little_of_the_shares(n_groups: int) -> None:
    labels = skewed_labels(30_000, 20)
    groups = np.random.default_rng(1).integers(0, n_groups, 30_000)
    groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    found = table(labels, assign(labels, groups, SHARES, seed=0))
    shares = found / found.sum(axis=0)
    assert np.abs(shares - SHARES[:, None]).max() < 0.02
    assert np.abs(found.sum(axis=1) / 30_000 - SHARES).max() < 0.003


def test_journals_of_one_subject_are_split_too() -> None:
    labels = skewed_labels(20_000, 10)
    journals = labels * 30 + np.random.default_rng(1).integers(0, 30, 20_000)
    found = table(labels, assign(labels, np.unique(journals, return_inverse=True)[1], SHARES, seed=0))
    assert np.abs(found / found.sum(axis=0) - SHARES[:, None]).max() < 0.05


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    labels = skewed_labels(500, 5)
    one, again, other = (assign(labels, np.arange(500), SHARES, seed=seed) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_a_component_with_most_papers_goes_to_training() -> None:
    labels = skewed_labels(1000, 4)
    components = np.where(np.arange(1000) < 650, 0, np.arange(1000) - 649)
    parts = assign(labels, components, SHARES, seed=0)
    assert (parts[:650] == 0).all()
    assert np.abs(np.bincount(parts) / 1000 - SHARES).max() < 0.01
