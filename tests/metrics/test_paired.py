import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap
from sklearn.metrics import accuracy_score, f1_score

from specter_batch.metrics.bootstrap import Interval, resampled_cells
from specter_batch.metrics.f1 import Ints
from specter_batch.metrics.non_inferiority import non_inferiority
from specter_batch.metrics.paired import PairedComparison, PairedScore, compare_predictions, mcnemar


def papers(n: int = 400, n_labels: int = 4, *, right: tuple[float, float] = (0.7, 0.7), seed: int = 0) -> list[Ints]:
    """True labels and those of two models, which find the same papers hard."""
    rng = np.random.default_rng(seed)
    true, hard = rng.integers(0, n_labels, n), rng.random(n)
    return [
        true,
        *(
            np.where(0.6 * hard + 0.4 * rng.random(n) < share, true, rng.integers(0, n_labels, n))
            for share in right
        ),
    ]  # fmt: skip


def compared(
    true: Ints, a: Ints, b: Ints, *, n_labels: int = 4, seed: int = 0, resamples: int = 2000
) -> PairedComparison:
    found = compare_predictions(
        true, a, b, labels=[f"label {i}" for i in range(n_labels)], seed=seed, resamples=resamples
    )
    assert found is not None
    return found


def test_the_scores_are_those_of_scikit_learn() -> None:
    true, a, b = papers()
    found = compared(true, a, b)
    assert (found.macro_f1.a, found.macro_f1.b) == pytest.approx([f1_score(true, x, average="macro") for x in (a, b)])
    assert (found.accuracy.a, found.accuracy.b) == pytest.approx([accuracy_score(true, x) for x in (a, b)])
    assert [one.a for one in found.per_label] == pytest.approx(list(f1_score(true, a, average=None)))
    assert [one.difference for one in found.per_label] == pytest.approx(
        list(f1_score(true, b, average=None) - f1_score(true, a, average=None))
    )
    assert found.macro_f1.difference == pytest.approx(found.macro_f1.b - found.macro_f1.a)
    assert found.agreement == pytest.approx(accuracy_score(a, b))
    assert sum(one.papers for one in found.per_label) == found.papers == 400


def test_the_intervals_are_those_of_scipy_on_the_papers_themselves() -> None:
    true, a, b = papers()
    ours = compared(true, a, b, resamples=10_000)

    def difference(true: Ints, a: Ints, b: Ints) -> list[float]:
        of_b, of_a = (f1_score(true, x, average=None, labels=range(4)) for x in (b, a))
        return [of_b.mean() - of_a.mean(), accuracy_score(true, b) - accuracy_score(true, a), *(of_b - of_a)]

    theirs = bootstrap(
        (true, a, b), difference, paired=True, vectorized=False, method="percentile", n_resamples=400,
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    intervals = [ours.macro_f1.interval, ours.accuracy.interval, *(one.interval for one in ours.per_label)]
    for found, low, high in zip(intervals, theirs.low, theirs.high, strict=True):
        assert found is not None
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_an_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    world = papers(200_000, right=(0.68, 0.72))
    true, a, b = world
    expected = f1_score(true, b, average="macro") - f1_score(true, a, average="macro")
    inside = 0
    for seed in range(200):
        rows = np.random.default_rng(1000 + seed).integers(0, len(true), 500)
        found = compared(*(ids[rows] for ids in world), seed=seed, resamples=500).macro_f1.interval
        inside += found.low <= expected <= found.high
    assert 0.9 <= inside / 200 <= 0.99  # a standard error is 0.015


def test_a_model_equals_itself() -> None:
    true, a, _ = papers()
    found = compared(true, a, a)
    intervals = [found.macro_f1.interval, found.accuracy.interval, *(one.interval for one in found.per_label)]
    assert all(one is not None and (one.low, one.high) == (0.0, 0.0) for one in intervals)
    assert (found.agreement, found.mcnemar.p_value) == (1.0, 1.0)
    assert non_inferiority(found, max_loss=0.01).passed
    assert not non_inferiority(found, max_loss=0.0).passed  # no number of papers shows that nothing is lost


def test_swapped_models_give_the_opposite_difference() -> None:
    true, a, b = papers(right=(0.6, 0.7))
    one, other = compared(true, a, b), compared(true, b, a)
    assert one.macro_f1.difference == -other.macro_f1.difference
    assert one.macro_f1.interval.low == pytest.approx(-other.macro_f1.interval.high, abs=0.01)
    assert one.mcnemar.only_a_right == other.mcnemar.only_b_right
    assert one.mcnemar.p_value == other.mcnemar.p_value < 0.05


def test_a_label_that_nothing_has_gets_no_interval_and_a_rare_one_gets_that_of_the_resamples_with_it() -> None:
    true = np.array([0] * 60 + [1])
    a, b = np.array([0] * 61), true.copy()
    found = compared(true, a, b, n_labels=3)
    rare, absent = found.per_label[1], found.per_label[2]
    assert (absent.papers, absent.a, absent.b, absent.interval) == (0, 0.0, 0.0, None)
    assert rare.interval is not None
    assert (rare.difference, rare.interval.low, rare.interval.high) == (1.0, 1.0, 1.0)
    assert rare.interval.resamples < 2000  # a third of the resamples has no paper with the label


def test_the_same_seed_gives_the_same_intervals() -> None:
    one, again, other = (compared(*papers(), seed=seed) for seed in (3, 3, 4))
    assert one == again != other


def test_resamples_do_not_depend_on_the_size_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = np.array([5, 1, 30])
    whole = np.concatenate(list(resampled_cells(cells, seed=1, resamples=100)))
    monkeypatch.setattr("specter_batch.metrics.bootstrap._BLOCK_NUMBERS", 21)
    blocks = list(resampled_cells(cells, seed=1, resamples=100))
    assert len(blocks) == 15
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_no_papers_give_no_comparison() -> None:
    none = np.zeros(0, np.int64)
    assert compare_predictions(none, none, none, labels=["x", "y"], seed=0) is None


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 50))
def test_mcnemar_is_the_exact_test_of_scipy(only_a: int, only_b: int, both: int) -> None:
    a_right = np.array([True] * only_a + [False] * only_b + [True] * both, dtype=np.bool_)
    b_right = np.array([False] * only_a + [True] * only_b + [True] * both, dtype=np.bool_)
    found = mcnemar(a_right, b_right)
    assert (found.only_a_right, found.only_b_right) == (only_a, only_b)
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p_value == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_a_million_papers_takes_no_time_and_stays_exact() -> None:
    a_right = np.arange(1_000_000) < 499_000
    found = mcnemar(a_right, ~a_right)
    assert found.p_value == pytest.approx(binomtest(499_000, 1_000_000).pvalue, rel=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "passed"),
    [
        (-0.004, 0.006, "not worse", True),
        (-0.01, 0.0, "not worse", True),
        (-0.02, 0.01, "undecided", False),
        (-0.03, -0.011, "worse", False),
    ],
)
def test_a_model_is_not_worse_only_if_the_whole_interval_says_so(
    low: float, high: float, verdict: str, passed: bool
) -> None:
    interval = Interval(low=low, high=high, level=0.95, resamples=2000, seed=0)
    middle = (low + high) / 2
    score = PairedScore(a=0.5, b=0.5 + middle, difference=middle, interval=interval)
    found = non_inferiority(replace(compared(*papers()), macro_f1=score), max_loss=0.01)
    assert (found.verdict, found.passed) == (verdict, passed)


def test_papers_that_are_too_few_to_contain_an_error_do_not_show_that_a_model_is_not_worse() -> None:
    true, a, _ = papers(368)
    few, enough = (non_inferiority(compared(*(x[:n] for x in (true, a, a))), max_loss=0.01) for n in (367, 368))
    assert (few.verdict, few.needed_papers, enough.verdict, enough.needed_papers) == (
        "undecided", 368, "not worse", None
    )  # fmt: skip
    assert few.sentence().endswith("; at least 368 papers can show this")
    assert binomtest(0, 368).proportion_ci(0.95).high <= 0.01 < binomtest(0, 367).proportion_ci(0.95).high


def test_few_papers_can_show_that_a_model_is_better() -> None:
    true = np.arange(60) % 2
    for wrong, verdict in ((30, "not worse"), (3, "undecided")):
        a = np.where(np.arange(60) < wrong, 1 - true, true)
        assert non_inferiority(compared(true, a, true, n_labels=2), max_loss=0.01).verdict == verdict


def test_ten_thousand_papers_of_fifty_labels_take_seconds() -> None:
    world = papers(10_000, 50, right=(0.5, 0.5))
    began = time.process_time()
    compared(*world, n_labels=50)
    assert time.process_time() - began < 10  # about one, of one core
