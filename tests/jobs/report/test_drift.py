import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2

from specter_batch.errors import ConfigError
from specter_batch.model.bundle import ModelBundle
from specter_batch.training.demo.sample import SamplePaths
from specter_jobs.night.previous import read_previous
from specter_jobs.output.report_model.parts import RowCounts
from specter_jobs.report.drift import (
    drift_markdown,
    jensen_shannon_distance,
    population_stability_index,
    psi_by_chance,
    psi_parts,
)
from support.night_reports import changed, report_of
from support.papers_on_disk import RunNight, paper, write_dump


def counts(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)


def test_the_psi_is_the_sum_over_labels_of_difference_times_log_ratio() -> None:
    p, q = (30.5 / 101, 70.5 / 101), (50.5 / 101, 50.5 / 101)
    expected = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert population_stability_index(counts(50, 50), counts(30, 70)) == pytest.approx(expected)


def test_equal_shares_have_no_drift_whatever_the_number_of_papers() -> None:
    assert population_stability_index(counts(20, 60), counts(20, 60)) == 0
    assert population_stability_index(counts(2000, 6000), counts(1000, 3000)) == pytest.approx(0, abs=1e-6)
    assert jensen_shannon_distance(counts(20, 60), counts(1, 3)) == pytest.approx(0, abs=1e-7)


def test_a_label_that_is_empty_on_one_side_counts_as_half_a_paper() -> None:
    p, q = (100.5 / 101, 0.5 / 101), (50.5 / 101, 50.5 / 101)
    expected = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert population_stability_index(counts(50, 50), counts(100, 0)) == pytest.approx(expected)


def test_a_label_that_is_empty_on_both_sides_changes_nothing() -> None:
    plain = counts(500, 300), counts(5, 9)
    padded = counts(500, 0, 300, 0), counts(5, 0, 9, 0)
    for figure in (population_stability_index, psi_by_chance, jensen_shannon_distance):
        assert figure(*padded) == pytest.approx(figure(*plain))


def test_both_distances_are_symmetric() -> None:
    one, other = counts(5, 0, 12, 40), counts(9, 7, 0, 3)
    assert population_stability_index(one, other) == pytest.approx(population_stability_index(other, one))
    assert jensen_shannon_distance(one, other) == pytest.approx(jensen_shannon_distance(other, one))


@pytest.mark.parametrize("seed", range(5))
def test_the_jensen_shannon_distance_is_scipys_to_base_two(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 5, 12).astype(np.float64), rng.integers(0, 50, 12).astype(np.float64)
    assert jensen_shannon_distance(one, other) == pytest.approx(float(jensenshannon(one, other, base=2)))


def test_no_label_in_common_is_a_distance_of_one() -> None:
    assert jensen_shannon_distance(counts(7, 0), counts(0, 3)) == pytest.approx(1)


@pytest.mark.parametrize("n_labels", [2, 11, 19, 162])
def test_the_psi_by_chance_is_the_chi_square_quantile(n_labels: int) -> None:
    one, other = np.full(n_labels, 20.0), np.full(n_labels, 70.0)
    expected = chi2.ppf(0.95, n_labels - 1) * (1 / one.sum() + 1 / other.sum())
    assert psi_by_chance(one, other) == pytest.approx(expected, rel=0.03)


def test_nights_without_drift_stay_under_the_psi_by_chance_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(11, 5.0))
    pairs = [(rng.multinomial(2000, shares), rng.multinomial(3000, shares)) for _ in range(1000)]
    under = [population_stability_index(a, b) <= psi_by_chance(a, b) for a, b in pairs]
    assert 0.93 <= np.mean(under) <= 0.97


def test_one_label_alone_cannot_drift() -> None:
    assert psi_by_chance(counts(5), counts(9)) == 0


def test_the_reject_rate_is_of_the_rows_that_were_finished() -> None:
    rows = RowCounts(rows_in=100, labelled=30, reused=0, failed=60, rejected=10)
    assert rows.reject_rate == pytest.approx(0.25)
    assert RowCounts(rows_in=60, labelled=0, reused=0, failed=60, rejected=0).reject_rate is None


def test_changes_are_tonight_less_before() -> None:
    rows = RowCounts(rows_in=100, labelled=50, reused=0, failed=0, rejected=50)
    before = changed(report_of(seed=1), mean_score=0.5, rows=rows)
    side = report_of(previous=before).drift.previous
    assert side.mean_score_change == pytest.approx(report_of().mean_score - 0.5)
    assert side.reject_rate_change == pytest.approx(10 / 210 - 0.5)


def test_the_validation_data_has_no_reject_rate_to_compare_with() -> None:
    side = report_of().drift.reference
    assert side.papers == 300
    assert side.reject_rate is side.reject_rate_change is None


def test_a_label_that_only_the_other_side_knows_counts_as_drift() -> None:
    same = report_of(previous=report_of()).drift.previous
    other = report_of(previous=report_of(("art", "law", "sports"))).drift.previous
    assert same.js_distance == 0
    assert other.js_distance > 0.5


def test_a_night_without_labels_has_no_drift_and_no_error() -> None:
    report = report_of(papers=0, scored=0, previous=report_of())
    drift = report.drift
    assert drift.previous.psi is drift.reference.js_distance is None
    assert drift.previous.mean_score_change is None
    assert "| previous night | 200 | – | – | – | – |" in drift_markdown(report)


def test_the_markdown_shows_what_it_was_compared_with() -> None:
    assert "previous night" not in drift_markdown(report_of())
    lines = drift_markdown(report_of(previous=report_of())).splitlines()
    assert lines[5] == "The previous night is before."
    assert lines[3] == "| previous night | 200 | 0.0000 | 0.0594 | 0.0000 | +0.0000 | +0.0000 |"


@given(
    papers=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=30).filter(
        lambda pairs: sum(a for a, _ in pairs) > 0 < sum(b for _, b in pairs)
    )
)
def test_the_parts_of_the_labels_add_up_to_the_psi(papers: list[tuple[int, int]]) -> None:
    expected, observed = (counts(*side) for side in zip(*papers, strict=True))
    parts = psi_parts(expected, observed)
    assert parts.sum() == pytest.approx(population_stability_index(expected, observed))
    assert (parts >= 0).all()
    assert (parts[(expected + observed) == 0] == 0).all()


def test_the_labels_that_add_most_to_the_psi_are_listed_with_their_shares() -> None:
    previous = changed(report_of(), label_shares={"art": 0.8, "law": 0.1, "music": 0.1})
    report = report_of(previous=previous)
    side = report.drift.previous
    assert side.label_changes[0].label == "art"
    assert [change.psi for change in side.label_changes] == sorted((c.psi for c in side.label_changes), reverse=True)
    assert sum(change.psi for change in side.label_changes) == pytest.approx(side.psi)
    first = side.label_changes[0]
    assert (first.before, first.now) == pytest.approx((0.8, report.label_shares["art"]))
    assert f"| art | 80.00% | {first.now:.2%} |" in drift_markdown(report)
    assert f"art 80.0% → {first.now:.1%}" in drift_markdown(report)


def test_a_change_that_chance_explains_is_no_drift() -> None:
    assert report_of(previous=report_of()).drift.previous.label_changes == ()
    assert report_of(previous=report_of(seed=3)).drift.sentences() == []


def test_a_folder_without_a_report_is_no_previous_night(tmp_path: Path) -> None:
    assert read_previous(tmp_path) is None
    assert read_previous(tmp_path / "missing") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": {}}', "null"])
def test_something_else_than_a_report_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ConfigError, match="not the report of a night"):
        read_previous(tmp_path)


def test_a_night_is_compared_with_its_bundle_and_the_night_before(
    night: RunNight, sample_paths: SamplePaths, tiny_bundle: Path, tmp_path: Path
) -> None:
    night(sample_paths.night, out=tmp_path / "before")
    report = night(sample_paths.night, previous=tmp_path / "before").report
    assert report.drift.previous.psi == pytest.approx(0, abs=1e-12)
    reference = ModelBundle.open(tiny_bundle).reference()
    assert report.drift.reference.papers == reference.papers
    change = report.mean_score - reference.mean_score
    assert report.drift.reference.mean_score_change == pytest.approx(change)
    assert json.loads((tmp_path / "out/report.json").read_text())["drift"] == report.drift.model_dump(mode="json")


def test_the_first_night_has_no_previous_one_and_says_so(
    night: RunNight, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    with caplog.at_level(logging.WARNING):
        result = night(dump, previous=tmp_path / "yesterday")
    assert (result.exit_code, result.report.drift.previous) == (0, None)
    assert "no previous night to compare with" in caplog.messages


def test_a_night_is_not_compared_with_itself(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    with pytest.raises(ConfigError, match="is this night's own output"):
        night(dump, previous=tmp_path / "in/../out")
