import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from specter_batch.metrics.f1 import (
    F1Report,
    Tally,
    macro_f1,
    margins,
    score_bins,
    softmax,
    top_k_accuracy,
    wilson,
)
from specter_batch.metrics.score_report import N_SCORE_BINS
from specter_batch.papers.labels import LabelSet

LABELS = LabelSet(names=("a", "b", "c", "d", "e"))
N_LABELS = len(LABELS)

label_ids = st.integers(0, N_LABELS - 1)
# Papers as (true label, predicted label, score); few papers, so that some labels are absent from either side.
papers = st.lists(st.tuples(label_ids, label_ids, st.floats(0, 1)), max_size=15)
some_papers = st.lists(st.tuples(label_ids, label_ids, st.floats(0, 1)), min_size=1, max_size=15)
Paper = tuple[int, int, float]


def count(found: list[Paper]) -> Tally:
    true, predicted, scores = zip(*found, strict=True) if found else ((), (), ())
    return Tally.count(
        np.array(true, np.int64), np.array(predicted, np.int64), np.array(scores, np.float64), n_labels=N_LABELS
    )


def report(found: list[Paper]) -> F1Report:
    return F1Report.from_tally(count(found), LABELS)


def assert_equal(one: Tally, other: Tally) -> None:
    np.testing.assert_array_equal(one.confusion, other.confusion)
    np.testing.assert_array_equal(one.bin_papers, other.bin_papers)
    np.testing.assert_array_equal(one.bin_correct, other.bin_correct)
    np.testing.assert_allclose(one.bin_score, other.bin_score, rtol=1e-12)


# F1


@settings(deadline=None)
@given(some_papers)
def test_f1_and_accuracy_are_those_of_scikit_learn(found: list[Paper]) -> None:
    true, predicted, _ = zip(*found, strict=True)
    ours = report(found)
    for average in ("macro", "micro", "weighted"):
        theirs = f1_score(true, predicted, average=average, zero_division=0)
        assert getattr(ours, f"{average}_f1") == pytest.approx(theirs)
    assert ours.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert ours.papers == len(found)


@settings(deadline=None)
@given(some_papers)
def test_each_labels_scores_are_those_of_scikit_learn(found: list[Paper]) -> None:
    true, predicted, _ = zip(*found, strict=True)
    theirs = precision_recall_fscore_support(true, predicted, labels=range(N_LABELS), zero_division=0)
    ours = report(found).per_label
    for values, name in zip(theirs, ("precision", "recall", "f1", "support"), strict=True):
        assert [getattr(label, name) for label in ours] == pytest.approx(values.tolist())
    assert [label.predicted for label in ours] == [predicted.count(i) for i in range(N_LABELS)]
    assert [label.label for label in ours] == list(LABELS)


@settings(deadline=None)
@given(some_papers)
def test_the_confusion_matrix_is_that_of_scikit_learn(found: list[Paper]) -> None:
    true, predicted, _ = zip(*found, strict=True)
    assert report(found).confusion == tuple(map(tuple, confusion_matrix(true, predicted, labels=range(N_LABELS))))


def test_a_label_that_occurs_nowhere_does_not_lower_the_macro_f1() -> None:
    assert report([(0, 0, 0.9), (1, 1, 0.9)]).macro_f1 == 1.0


def test_a_label_that_was_only_predicted_counts_as_zero_in_the_macro_f1() -> None:
    found = report([(0, 0, 0.9), (0, 1, 0.9)])
    assert found.macro_f1 == pytest.approx((2 / 3 + 0) / 2)
    assert found.weighted_f1 == pytest.approx(2 / 3)


def test_the_macro_f1_of_many_counts_at_once_is_that_of_each() -> None:
    tallies = [
        count([(0, 0, 1.0), (1, 2, 1.0)]).confusion,
        count([(3, 3, 1.0), (3, 4, 1.0)]).confusion,
        count([]).confusion,
    ]
    counts = np.array([[np.diag(one), one.sum(axis=1), one.sum(axis=0)] for one in tallies])
    expected = [1 / 3, (2 / 3 + 0) / 2, 0]
    assert macro_f1(counts[:, 0], counts[:, 1], counts[:, 2]).tolist() == pytest.approx(expected)


def test_a_report_of_no_papers_is_all_zeros() -> None:
    found = report([])
    assert (found.papers, found.accuracy, found.macro_f1, found.micro_f1, found.weighted_f1) == (0, 0, 0, 0, 0)
    assert found.expected_calibration_error == 0
    assert [label.f1 for label in found.per_label] == [0.0] * N_LABELS


# Calibration


def test_the_calibration_error_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(400)
    found = [(int(rng.integers(N_LABELS)), int(rng.integers(2)), float(score)) for score in scores]
    expected = 0.0
    for i in range(N_SCORE_BINS):
        in_bin = [p for p in found if i / N_SCORE_BINS <= p[2] < (i + 1) / N_SCORE_BINS]
        if in_bin:
            confidence = sum(p[2] for p in in_bin) / len(in_bin)
            accuracy = sum(p[0] == p[1] for p in in_bin) / len(in_bin)
            expected += len(in_bin) / len(found) * abs(confidence - accuracy)
    assert report(found).expected_calibration_error == pytest.approx(expected)


@pytest.mark.parametrize(("score", "expected"), [(1.0, 0.0), (0.75, 0.25), (0.0, 1.0)])
def test_the_calibration_error_of_papers_that_are_all_right_is_what_their_score_lacks(
    score: float, expected: float
) -> None:
    assert report([(0, 0, score)] * 4).expected_calibration_error == pytest.approx(expected)


def test_the_reliability_of_a_bin_is_its_papers_accuracy_and_mean_score() -> None:
    points = count([(0, 0, 0.91), (1, 0, 0.93), (2, 2, 0.05)]).reliability()
    assert [point.papers for point in points] == [1, *[0] * 12, 2, 0]
    assert (points[13].accuracy, points[13].mean_score) == (0.5, pytest.approx(0.92))
    assert (points[1].accuracy, points[1].mean_score) == (None, None)
    edges = [(point.start, point.end) for point in points]
    assert edges[0][0] == 0
    assert edges[-1][1] == 1
    assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]


@given(st.floats(0, 1))
def test_every_score_has_a_bin(score: float) -> None:
    found = int(score_bins(np.array([score]))[0])
    assert 0 <= found < N_SCORE_BINS
    assert found / N_SCORE_BINS - 1e-9 <= score <= (found + 1) / N_SCORE_BINS + 1e-9


# Top labels


@pytest.mark.parametrize("k", [1, 3, N_LABELS])
def test_the_top_k_accuracy_is_that_of_scikit_learn(k: int) -> None:
    true = np.random.default_rng(2).integers(0, N_LABELS, 50)
    theirs = top_k_accuracy_score(true, logits(50), k=k, labels=range(N_LABELS)) if k < N_LABELS else 1.0
    assert top_k_accuracy(logits(50), true, k=k) == pytest.approx(theirs)


def test_the_top_label_of_a_tie_is_the_one_that_is_predicted() -> None:
    tied = np.zeros((N_LABELS, N_LABELS), dtype=np.float32)
    everyone = np.arange(N_LABELS)
    assert top_k_accuracy(tied, everyone, k=1) == np.mean(tied.argmax(axis=1) == everyone) == 1 / N_LABELS
    assert top_k_accuracy(tied, everyone, k=3) == 3 / N_LABELS


# Shares


def test_the_interval_is_wilsons() -> None:
    # As in Newcombe 1998, table I: 81 of 263.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 10)[0] == 0
    assert wilson(1, 10)[1] == pytest.approx(1)


# Tallies


@given(st.lists(papers, min_size=1, max_size=4))
def test_tallies_of_parts_add_up_to_that_of_the_whole(parts: list[list[Paper]]) -> None:
    total = Tally.empty(N_LABELS)
    for part in parts:
        total = total + count(part)
    assert_equal(total, count([paper for part in parts for paper in part]))


@given(papers)
def test_a_tally_counts_every_paper_once(found: list[Paper]) -> None:
    tally = count(found)
    assert tally.confusion.sum() == tally.bin_papers.sum() == len(found)
    assert tally.bin_correct.sum() == np.trace(tally.confusion)
    assert tally.confusion.shape == (N_LABELS, N_LABELS)


@given(papers)
def test_a_tally_survives_json(found: list[Paper]) -> None:
    tally = count(found)
    back = Tally.from_json(json.loads(json.dumps(tally.as_json())))
    assert_equal(back, tally)
    assert back.confusion.dtype == back.bin_papers.dtype == np.int64


def test_what_nobody_was_counted_for_takes_no_room_in_the_ledger() -> None:
    assert count([]).as_json() == {"n_labels": N_LABELS}
    assert count([(1, 2, 0.5), (1, 2, 0.5)]).as_json()["cell_papers"] == [2]


# Logits


def logits(n: int = 6) -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).normal(scale=3, size=(n, N_LABELS)).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_softmax_is_that_of_a_plain_loop(temperature: float) -> None:
    for row, found in zip(logits(), softmax(logits(), temperature=temperature), strict=True):
        powers = [float(np.exp(float(value) / temperature)) for value in row]
        assert found.tolist() == pytest.approx([power / sum(powers) for power in powers])


def test_softmax_stands_huge_logits_and_half_precision() -> None:
    found = softmax(np.array([[60_000, 0], [-60_000, -60_000]], dtype=np.float16))
    np.testing.assert_array_equal(found, [[1.0, 0.0], [0.5, 0.5]])


def test_a_higher_temperature_lowers_the_top_score_and_keeps_the_order() -> None:
    cold, warm = softmax(logits()), softmax(logits(), temperature=3.0)
    assert (warm.max(axis=1) < cold.max(axis=1)).all()
    np.testing.assert_array_equal(warm.argsort(axis=1), cold.argsort(axis=1))


def test_softmax_of_no_papers_is_empty() -> None:
    assert softmax(logits(0)).shape == (0, N_LABELS)


def test_a_margin_is_the_lead_of_the_top_logit() -> None:
    expected = [sorted(row)[-1] - sorted(row)[-2] for row in logits().astype(np.float64).tolist()]
    assert margins(logits()).tolist() == pytest.approx(expected)


def test_a_tie_has_no_margin() -> None:
    assert margins(np.array([[1.0, 4.0, 4.0], [-2.0, -2.0, -5.0]])).tolist() == [0.0, 0.0]
