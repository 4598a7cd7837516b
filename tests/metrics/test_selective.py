import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.metrics.f1 import wilson
from specter_batch.metrics.selective import N_POINTS, CurvePoint, RiskCoverage

# Papers as (labelled right, score); scores from a short list, so that many are equal.
some_papers = st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.4, 0.5, 0.7, 0.9])), min_size=1, max_size=20)
Papers = list[tuple[bool, float]]

FIVE: Papers = [(True, 0.5), (True, 0.9), (False, 0.6), (True, 0.8), (False, 0.3)]


def curve(papers: Papers) -> RiskCoverage:
    right, scores = zip(*papers, strict=True)
    return RiskCoverage.of(np.array(right), np.array(scores))


def test_the_risk_is_the_share_of_wrong_labels_among_the_surest() -> None:
    found = curve(FIVE)
    assert found.threshold.tolist() == [0.9, 0.8, 0.6, 0.5, 0.3]
    assert found.risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5])
    assert found.area == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5) / 5)


@given(some_papers)
def test_the_order_of_the_papers_does_not_matter(papers: Papers) -> None:
    shuffled = [papers[i] for i in np.random.default_rng(len(papers)).permutation(len(papers))]
    assert curve(shuffled).points() == curve(papers).points()
    assert curve(shuffled).area == pytest.approx(curve(papers).area)


@given(some_papers)
def test_every_risk_is_that_of_the_papers_at_or_above_its_threshold(papers: Papers) -> None:
    found = curve(papers)
    for threshold, risk in zip(found.threshold, found.risk, strict=True):
        kept = [right for right, score in papers if score >= threshold]
        assert risk == pytest.approx(kept.count(False) / len(kept))


def test_scores_that_say_nothing_have_the_error_rate_for_their_area() -> None:
    assert curve([(True, 0.5), (False, 0.5), (True, 0.5), (True, 0.5)]).area == 0.25


def test_a_better_order_has_a_smaller_area() -> None:
    scores = np.linspace(1, 0, 100)
    right = np.arange(100) < 70
    best, worst = RiskCoverage.of(right, scores).area, RiskCoverage.of(right[::-1], scores).area
    assert best < 0.3 < worst


def test_many_papers_are_drawn_as_a_hundred_points_with_the_last_of_all() -> None:
    rng = np.random.default_rng(0)
    found = RiskCoverage.of(rng.random(12_345) < 0.8, rng.random(12_345))
    points = found.points()
    assert len(points) == N_POINTS
    assert points[-1] == CurvePoint(coverage=1.0, risk=found.risk[-1], threshold=found.threshold[-1])
    assert [point.coverage for point in points] == pytest.approx(np.arange(1, 101) / 100, abs=1e-4)


# The threshold for a precision


def test_the_threshold_keeps_as_many_papers_as_the_precision_allows() -> None:
    found = curve(FIVE).operating_point(0.75)
    assert (found.threshold, found.papers, found.coverage, found.reached) == (0.5, 4, 0.8, 0.75)
    assert found.reached_interval == pytest.approx(wilson(0.75, 4))
    assert found.told.startswith("Of the 4 papers with a score of at least 0.5000 (80.0% of all), 75.00% are")


@given(some_papers, st.floats(0.01, 1))
def test_the_papers_at_or_above_a_threshold_reach_its_precision(papers: Papers, precision: float) -> None:
    found = curve(papers).operating_point(precision)
    reached = {
        threshold: np.mean([right for right, score in papers if score >= threshold])
        for threshold in {score for _, score in papers}
    }
    enough = [threshold for threshold, share in reached.items() if share >= precision]
    assert found.threshold == (min(enough) if enough else None)


def test_a_precision_reached_to_the_paper_counts_as_reached() -> None:
    papers = [(i != 7, 1 - i / 100) for i in range(20)]
    found = curve(papers).operating_point(0.95)
    assert (found.papers, found.reached) == (20, 0.95)


def test_a_precision_out_of_reach_is_told_in_words() -> None:
    found = curve([(False, 0.9), (True, 0.8), (True, 0.7), (False, 0.2)]).operating_point(0.95)
    assert found.threshold is found.reached is None
    assert (found.coverage, found.papers) == (0.0, 0)
    assert found.told == (
        "No threshold reaches a precision of 0.95: the highest is 0.6667, at a score of at least 0.7000 and a coverage "
        "of 75.0%."
    )


@pytest.mark.parametrize("precision", [0.75, 1.0])
def test_the_curve_survives_json(precision: float) -> None:
    point = curve(FIVE).operating_point(precision)
    found = asdict(point) | {"points": [asdict(one) for one in curve(FIVE).points()]}
    assert json.loads(json.dumps(found, allow_nan=False)) == found | {
        "reached_interval": point.reached_interval and list(point.reached_interval)
    }
