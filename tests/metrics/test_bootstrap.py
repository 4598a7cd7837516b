import time

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import confusion_matrix, f1_score

from specter_batch.metrics.bootstrap import label_f1_intervals, macro_f1_interval
from specter_batch.metrics.f1 import Ints


def papers(n: int = 400, n_labels: int = 4, *, right: float = 0.7, seed: int = 0) -> tuple[Ints, Ints]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, n_labels, n)
    return true, np.where(rng.random(n) < right, true, rng.integers(0, n_labels, n))


def test_the_interval_is_that_of_scipy_on_the_papers_themselves() -> None:
    true, predicted = papers()
    ours = macro_f1_interval(confusion_matrix(true, predicted), seed=0, resamples=10_000)
    theirs = bootstrap(
        (true, predicted),
        lambda a, b: f1_score(a, b, average="macro"),
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert ours is not None
    # The ends move with the draws: by about a twentieth of the interval at a thousand of them.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.1 * (theirs.high - theirs.low))


def test_the_interval_holds_the_true_score_about_as_often_as_it_says() -> None:
    true, predicted = papers(n=200_000)
    expected = f1_score(true, predicted, average="macro")
    inside = 0
    for seed in range(200):
        rows = np.random.default_rng(1000 + seed).integers(0, len(true), 500)
        found = macro_f1_interval(confusion_matrix(true[rows], predicted[rows]), seed=seed)
        assert found is not None
        inside += found.low <= expected <= found.high
    assert 0.9 <= inside / 200 <= 0.99  # a standard error is 0.015


def test_the_same_seed_gives_the_same_interval_and_is_told() -> None:
    confusion = confusion_matrix(*papers())
    one, again, other = (macro_f1_interval(confusion, seed=seed) for seed in (3, 3, 4))
    assert one == again != other
    assert one is not None
    assert (one.seed, one.resamples, one.level) == (3, 1000, 0.95)


def test_papers_that_are_all_right_leave_no_doubt() -> None:
    found = macro_f1_interval(np.diag([5, 3, 0]), seed=0)
    assert found is not None
    assert (found.low, found.high) == (1.0, 1.0)


def test_more_papers_give_a_narrower_interval() -> None:
    few, many = (macro_f1_interval(confusion_matrix(*papers(n)), seed=0) for n in (400, 40_000))
    assert few is not None
    assert many is not None
    # As the root of the number of papers: a tenth.
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(10, rel=0.3)


def test_no_papers_give_no_interval() -> None:
    assert macro_f1_interval(np.zeros((3, 3), np.int64), seed=0) is None


def test_twenty_thousand_papers_of_a_hundred_labels_take_seconds() -> None:
    confusion = confusion_matrix(*papers(20_000, 100, right=0.3))
    began = time.process_time()
    macro_f1_interval(confusion, seed=0)
    assert time.process_time() - began < 10  # about one, of one core


def test_the_interval_of_a_label_is_that_of_the_resamples() -> None:
    confusion = np.array([[30, 10, 0], [5, 40, 0], [0, 0, 0]])
    first, second, absent = label_f1_intervals(confusion, seed=0)
    assert absent is None
    assert first is not None
    assert second is not None
    assert first.low < 2 * 30 / (40 + 35) < first.high
    assert second.low < 2 * 40 / (45 + 50) < second.high
    # With one label that is always right, its F1 is the macro F1 in every resample.
    alone = np.array([[7, 0], [0, 0]])
    assert label_f1_intervals(alone, seed=3)[0] == macro_f1_interval(alone, seed=3)


def test_the_interval_of_a_rare_label_leaves_out_resamples_without_it() -> None:
    confusion = np.array([[99, 0], [0, 1]])
    rare = label_f1_intervals(confusion, seed=0)[1]
    assert rare is not None
    assert (rare.low, rare.high) == (1.0, 1.0)
    assert rare.resamples < 1000


def test_intervals_are_none_without_papers() -> None:
    assert label_f1_intervals(np.zeros((2, 2), dtype=np.int64), seed=0) == (None, None)
    assert macro_f1_interval(np.zeros((2, 2), dtype=np.int64), seed=0) is None
