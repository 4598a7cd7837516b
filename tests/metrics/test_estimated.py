import numpy as np
import pytest

from specter_batch.metrics.estimated import estimated_scores
from specter_batch.metrics.expected_sums import ExpectedSums
from specter_batch.metrics.f1 import F1Report, Tally
from specter_batch.metrics.score_report import EstimatedScores
from specter_batch.papers.labels import LabelSet

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Floats = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def papers_of(seed: int, *, n: int, n_labels: int, sharpness: float = 1.5) -> tuple[Floats, Ints, Ints]:
    """Return probabilities of papers, predicted label ids, and true label ids that are drawn from the probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=sharpness, size=(n, n_labels)) + rng.normal(size=n_labels)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = (probabilities.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=n_labels - 1)
    return probabilities, probabilities.argmax(axis=1), true


def estimate_of(predicted: Ints, probabilities: Floats, *, validation_papers: int = 10**9) -> EstimatedScores:
    score, n_labels = probabilities[np.arange(len(predicted)), predicted], probabilities.shape[1]
    sums = ExpectedSums.count(predicted, score, probabilities)
    papers = np.bincount(predicted, minlength=n_labels).tolist()
    found = estimated_scores(sums, papers, validation_papers=validation_papers)
    assert found is not None
    return found


def measured(true: Ints, predicted: Ints, n_labels: int) -> F1Report:
    tally = Tally.count(true, predicted, np.ones(len(true)), n_labels=n_labels)
    return F1Report.from_tally(tally, LabelSet(names=tuple(map(str, range(n_labels)))))


def test_certain_labels_are_all_expected_to_be_right() -> None:
    predicted = np.array([0, 1, 1, 2])
    found = estimate_of(predicted, np.eye(3)[predicted])
    assert (found.accuracy, found.macro_f1, found.f1) == (1.0, 1.0, (1.0, 1.0, 1.0))
    assert (found.accuracy_low, found.macro_f1_high, found.papers) == (1.0, 1.0, 4)


def test_the_estimate_is_that_of_the_expected_confusion_matrix() -> None:
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    found = estimate_of(np.array([0, 0, 1]), probabilities)
    assert found.accuracy == pytest.approx(2.1 / 3)
    first, second = 2 * 1.4 / (2 + 1.7), 2 * 0.7 / (1 + 1.3)
    assert found.f1 == pytest.approx((first, second))
    assert found.macro_f1 == pytest.approx((first + second) / 2)


def test_a_label_that_hardly_occurs_counts_hardly_and_has_no_f1() -> None:
    probabilities = np.tile([0.6, 0.399, 0.001], (20, 1))
    found = estimate_of(np.zeros(20, np.int64), probabilities)
    assert found.f1[2] is None
    assert found.macro_f1 == pytest.approx((found.f1[0] or 0) / (2 + 0.02), rel=0.01)


def test_without_papers_there_is_no_estimate() -> None:
    sums = ExpectedSums.count(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 3)))
    assert estimated_scores(sums, [0, 0, 0], validation_papers=10) is None


@pytest.mark.parametrize("n_labels", [3, 20])
def test_for_calibrated_probabilities_19_of_20_intervals_hold_the_measured_score(n_labels: int) -> None:
    accuracy, macro, errors = [], [], []
    for seed in range(60):
        probabilities, predicted, true = papers_of(seed, n=800, n_labels=n_labels)
        found, real = estimate_of(predicted, probabilities), measured(true, predicted, n_labels)
        accuracy.append(found.accuracy_low <= real.accuracy <= found.accuracy_high)
        macro.append(found.macro_f1_low <= real.macro_f1 <= found.macro_f1_high)
        errors.append(found.macro_f1 - real.macro_f1)
    assert 0.85 <= np.mean(accuracy) <= 1
    assert 0.85 <= np.mean(macro) <= 1
    assert abs(np.mean(errors)) < 0.01


def test_few_validation_papers_make_the_interval_wider() -> None:
    probabilities, predicted, _ = papers_of(0, n=1000, n_labels=5)
    few, many = (estimate_of(predicted, probabilities, validation_papers=papers) for papers in (250, 10**9))
    assert few.accuracy == many.accuracy
    ratio = (few.accuracy_high - few.accuracy_low) / (many.accuracy_high - many.accuracy_low)
    assert ratio == pytest.approx(np.sqrt(5), rel=0.01)


def test_for_overconfident_probabilities_the_estimate_is_too_high() -> None:
    probabilities, predicted, true = papers_of(1, n=2000, n_labels=5)
    sharper = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert estimate_of(predicted, sharper).accuracy > measured(true, predicted, 5).accuracy + 0.1
