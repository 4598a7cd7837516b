import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import f1_score, top_k_accuracy_score

from specter_batch.metrics.f1 import Ints
from specter_batch.papers.labels import LabelSet
from specter_batch.training.evaluation.figures import EvaluationSettings, batch_macro_f1, figures
from specter_batch.training.evaluation.report_model import Figures

LABELS = LabelSet(names=("art", "biology", "chemistry", "law", "music"))
N = 500


@pytest.fixture(scope="module")
def papers() -> tuple[npt.NDArray[np.float32], Ints]:
    """Return logits and true labels of papers of which the logits are twice too large."""
    rng = np.random.default_rng(0)
    # Labels drawn from the softmax of what a temperature of 2 leaves: calibrated there, by construction.
    calm = rng.normal(scale=1.5, size=(N, len(LABELS)))
    shares = np.exp(calm) / np.exp(calm).sum(axis=1, keepdims=True)
    true = np.array([rng.choice(len(LABELS), p=row) for row in shares])
    return (2 * calm).astype(np.float32), true


def of(
    papers: tuple[npt.NDArray[np.float32], Ints], *, seen: int = 0, temperature: float = 2.0, **settings: Any
) -> Figures:
    logits, true = papers
    return figures(
        logits,
        true,
        seen=np.arange(len(true)) < seen,
        temperature=temperature,
        labels=LABELS,
        settings=EvaluationSettings(**settings),
    )


Papers = tuple[npt.NDArray[np.float32], Ints]


def test_the_macro_f1_comes_first_and_its_interval_next(papers: Papers) -> None:
    report = of(papers, seed=7)
    assert list(type(report).model_fields)[:2] == ["macro_f1", "macro_f1_interval"]
    interval = report.macro_f1_interval
    assert interval.low < report.macro_f1 < interval.high
    assert (interval.seed, interval.resamples, interval.level) == (7, 1000, 0.95)


def test_papers_trained_on_are_left_out_of_every_figure(papers: Papers) -> None:
    logits, true = papers
    mixed, clean = of(papers, seen=100, precision=0.8), of((logits[100:], true[100:]), precision=0.8)
    apart = {"seen_in_training", "macro_f1_with_seen", "weighted_f1_with_seen", "accuracy_with_seen"}
    assert mixed.model_dump(exclude=apart) == clean.model_dump(exclude=apart)
    assert mixed.seen_in_training == 100
    assert mixed.macro_f1_with_seen == of(papers).macro_f1


def test_the_top_3_accuracy_is_that_of_scikit_learn(papers: Papers) -> None:
    logits, true = papers
    assert of(papers).top3_accuracy == pytest.approx(top_k_accuracy_score(true, logits, k=3))


def test_the_temperature_mends_the_calibration_and_both_are_told(papers: Papers) -> None:
    report = of(papers)
    before, after = report.uncalibrated.expected_calibration_error, report.expected_calibration_error
    assert after < 0.1 < before
    assert report.temperature == 2.0
    cold = of(papers, temperature=1.0)
    assert report.uncalibrated.expected_calibration_error == cold.expected_calibration_error
    assert report.uncalibrated.reliability == cold.reliability


def test_the_temperature_moves_neither_labels_nor_their_scores_order(papers: Papers) -> None:
    one, other = of(papers, temperature=1.0), of(papers, temperature=2.0)
    for name in ("macro_f1", "macro_f1_interval", "top3_accuracy", "confusion"):
        assert getattr(one, name) == getattr(other, name)


def test_a_threshold_is_looked_for_only_when_asked_for(papers: Papers) -> None:
    assert of(papers).operating_point is None
    found = of(papers, precision=0.9).operating_point
    assert found.reached >= 0.9
    assert 0 < found.coverage < 1


# The older studies' figure


@pytest.mark.parametrize("size", [1, 8, 32, 499, 500, 1000])
def test_the_batch_mean_is_that_of_a_plain_loop_over_scikit_learn(papers: Papers, size: int) -> None:
    logits, true = papers
    predicted = logits.argmax(axis=1)
    batches = [slice(first, first + size) for first in range(0, N, size)]
    expected = [f1_score(true[rows], predicted[rows], average="macro") for rows in batches]
    assert batch_macro_f1(true, predicted, n_labels=len(LABELS), size=size).tolist() == pytest.approx(expected)
    found = of(papers, batch_mean_size=size).batch_mean_macro_f1
    assert found.mean == pytest.approx(np.mean(expected))
    assert (found.batch_size, found.batches) == (size, len(expected))


def test_the_batch_mean_says_that_it_is_no_corpus_level_score(papers: Papers) -> None:
    report = of(papers)
    assert "Not a corpus-level score" in report.batch_mean_macro_f1.note
    assert report.batch_mean_macro_f1.mean != pytest.approx(report.macro_f1, abs=0.005)


# Edges


def test_papers_that_were_all_trained_on_give_no_figures(papers: Papers) -> None:
    report = of(papers, seen=N, precision=0.9)
    missing = ("macro_f1", "macro_f1_interval", "top3_accuracy", "risk_coverage", "operating_point")
    assert [name for name in missing if getattr(report, name) is not None] == []
    assert report.batch_mean_macro_f1 is report.uncalibrated.expected_calibration_error is None
    assert report.accuracy_with_seen > 0


@pytest.mark.parametrize("n", [1, 2])
def test_a_handful_of_papers_is_scored(papers: Papers, n: int) -> None:
    logits, true = papers
    report = of((logits[:n], true[:n]), precision=0.5)
    assert report.scored_papers == n
    assert len(report.risk_coverage.points) <= n


@pytest.mark.parametrize("seen", [0, 100, N])
def test_the_figures_survive_json(papers: Papers, seen: int) -> None:
    report = of(papers, seen=seen, precision=0.9)
    text = json.dumps(report.model_dump(mode="json"), allow_nan=False)
    assert Figures.model_validate_json(text) == report
