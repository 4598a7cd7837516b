import json

import numpy as np
import pytest

from specter_batch.metrics.score_report import ScoreReport
from specter_batch.metrics.scores import Scores, scores_markdown, seen_in_training
from specter_batch.papers.labels import LabelSet
from specter_batch.papers.text import normalised_text_hash

LABELS = LabelSet(names=("art", "law", "music"))
# Papers as (true label, predicted label, score, trained on): the unseen ones give a macro F1 of 1/2.
PAPERS = (
    (0, 0, 0.9, False),
    (0, 1, 0.6, False),
    (1, 1, 0.8, False),
    (2, 0, 0.4, False),
    (2, 2, 0.99, True),
    (1, 1, 0.98, True),
)


def count(papers: tuple[tuple[int, int, float, bool], ...]) -> Scores:
    true, predicted, scores, seen = zip(*papers, strict=True)
    return Scores.count(
        np.array(true), np.array(predicted), np.array(scores), seen=np.array(seen), n_labels=len(LABELS)
    )


def test_a_text_seen_in_training_is_known_again_despite_case_and_punctuation() -> None:
    trained = np.sort(
        np.array([normalised_text_hash(text) for text in ("Slow rivers[SEP]A study.", "Other")], np.uint64)
    )
    texts = ["SLOW RIVERS [SEP] a study", "Slow rivers[SEP]A study of beds.", "other!"]
    assert seen_in_training(texts, trained).tolist() == [True, False, True]


def test_nothing_was_seen_when_nothing_was_trained_on() -> None:
    assert seen_in_training(["a", "b"], np.zeros(0, np.uint64)).tolist() == [False, False]
    assert seen_in_training([], np.array([1], np.uint64)).shape == (0,)


def test_hashes_above_the_signed_range_are_compared_exactly() -> None:
    text = next(text for text in map(str, range(100)) if normalised_text_hash(text) >= 2**63)
    exact = normalised_text_hash(text)
    assert seen_in_training([text], np.array([exact], np.uint64)).tolist() == [True]
    assert seen_in_training([text], np.array([exact - 1, exact + 1], np.uint64)).tolist() == [False]


def test_papers_trained_on_do_not_count_in_the_headline_figures() -> None:
    report = count(PAPERS).as_report(LABELS)
    alone = count(PAPERS[:4]).as_report(LABELS)
    assert report.macro_f1 == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    for figure in ("macro_f1", "micro_f1", "weighted_f1", "accuracy", "expected_calibration_error", "confusion"):
        assert getattr(report, figure) == getattr(alone, figure)
    assert (report.scored_papers, report.seen_in_training) == (4, 2)


def test_the_macro_f1_with_papers_trained_on_is_told_apart() -> None:
    report = count(PAPERS).as_report(LABELS)
    unmarked = count(tuple((true, predicted, score, False) for true, predicted, score, _ in PAPERS))
    for figure in ("macro_f1", "weighted_f1", "accuracy"):
        assert getattr(report, f"{figure}_with_seen") == pytest.approx(getattr(unmarked.as_report(LABELS), figure))
    assert (report.macro_f1_with_seen or 0) > (report.macro_f1 or 0)


def test_scores_of_parts_add_up_to_those_of_the_whole() -> None:
    total = count(PAPERS[:1]) + count(PAPERS[1:5]) + count(PAPERS[5:]) + Scores.empty(len(LABELS))
    whole = count(PAPERS).as_report(LABELS)
    report = total.as_report(LABELS)
    assert report.expected_calibration_error == pytest.approx(whole.expected_calibration_error)
    same_error = {"expected_calibration_error": whole.expected_calibration_error}
    assert report.model_copy(update=same_error) == whole


def test_papers_that_were_all_trained_on_give_no_f1() -> None:
    report = count(PAPERS[4:]).as_report(LABELS)
    assert report.macro_f1 is report.accuracy is report.expected_calibration_error is None
    assert report.macro_f1_with_seen == 1.0
    assert scores_markdown(report) == (
        "No unseen paper had a label, so there is no F1 (2 labelled papers were in the training data).\n"
    )


def test_no_papers_give_no_f1_at_all() -> None:
    report = Scores.empty(len(LABELS)).as_report(LABELS)
    assert report.macro_f1 is report.macro_f1_with_seen is None
    assert (report.scored_papers, report.seen_in_training) == (0, 0)


@pytest.mark.parametrize("scores", [count(PAPERS), Scores.empty(len(LABELS))], ids=["papers", "no papers"])
def test_a_report_survives_json(scores: Scores) -> None:
    report = scores.as_report(LABELS)
    assert ScoreReport.model_validate_json(json.dumps(report.model_dump(), allow_nan=False)) == report


def test_the_markdown_leads_with_the_macro_f1_and_what_it_leaves_out() -> None:
    first = scores_markdown(count(PAPERS).as_report(LABELS)).splitlines()[0]
    assert first.startswith("**Macro F1 0.3889** over 4 labelled papers")
    assert "2 of the training data are left out" in first


def test_the_markdown_tables_have_a_row_for_every_label_and_equal_columns() -> None:
    lines = scores_markdown(count(PAPERS).as_report(LABELS)).splitlines()
    assert "| law | 0.6667 | 0.5000 | 1.0000 | 1 | 2 |" in lines
    assert "| 0 art | 1 | 1 | · |" in lines
    assert "| 2 music | 1 | · | · |" in lines
    confusion = lines[lines.index("| 0 art | 1 | 1 | · |") - 2 :]
    assert {line.count("|") for line in confusion} == {len(LABELS) + 2}
