"""Which earlier night tonight is compared with, and what the gates make of it when there is none."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.errors import ConfigError, UsageError
from specter_jobs.inspect.status import night_status, status_lines
from specter_jobs.inspect.verify import verify_night
from specter_jobs.night.previous import PreviousNight, find_previous, read_previous
from specter_jobs.output.report_model.parts import PreviousReport
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.limits import PREVIOUS_DAYS, GateLimits
from specter_jobs.report.gates import judge
from specter_jobs.report.metrics_file import night_metrics, render
from support.night_reports import changed, report_of
from support.papers_on_disk import RunNight, paper, write_dump

TONIGHT = "2026-03-10"


def config_of(root: Path, previous: str = "{yesterday}", **settings: Any) -> NightConfig:
    places = {"dump": "in", "out": str(root / "{date}"), "bundle": "bundle", "previous": str(root / previous)}
    return NightConfig.load(None, places | {"date": TONIGHT} | settings)


def write_night(folder: Path, *, succeeded: bool = True, papers: int = 200, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(report_of(papers=papers, scored=min(papers, 100), seed=seed).model_dump_json())
    if succeeded:
        (folder / "_SUCCESS").write_text("")
    return folder


def previous_of(config: NightConfig) -> PreviousNight | None:
    return find_previous(config.previous, config.previous_nights(), out=config.out, limits=config.gates)


def test_the_night_before_is_taken_when_it_succeeded(tmp_path: Path) -> None:
    night = write_night(tmp_path / "2026-03-09")
    write_night(tmp_path / "2026-03-08", seed=1)
    found = previous_of(config_of(tmp_path))
    assert found is not None
    assert found.as_report() == PreviousReport(asked=str(night), used=str(night), passed_over={})


def test_a_night_that_failed_its_gates_is_passed_over_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = write_night(tmp_path / "2026-03-05")
    failed = write_night(tmp_path / "2026-03-08", succeeded=False, seed=1)
    empty = write_night(tmp_path / "2026-03-07", papers=0)
    with caplog.at_level(logging.WARNING):
        found = previous_of(config_of(tmp_path))
    assert found is not None
    assert (found.used, set(found.passed_over)) == (good, {str(failed), str(empty)})
    assert caplog.messages == ["nearer nights passed over"]


def test_a_failed_night_whose_audit_cannot_be_continued_is_named(tmp_path: Path) -> None:
    """Otherwise the labels that it found to differ would be forgotten without a word."""
    good = write_night(tmp_path / "2026-03-05")
    failed = write_night(tmp_path / "2026-03-09", succeeded=False)
    (failed / "report.json").write_text((failed / "report.json").read_text()[:-100])
    found = previous_of(config_of(tmp_path))
    assert found is not None
    assert (found.used, set(found.passed_over)) == (good, {str(failed)})
    assert "The audit cannot continue its series either, because of " in found.passed_over[str(failed)]
    assert f"{failed / 'report.json'}: not the report of a night" in found.passed_over[str(failed)]


@pytest.mark.parametrize(("papers", "differ"), [(50, 51), (10**400, 0), (50, -1)])
def test_counts_of_an_audit_that_cannot_be_are_no_report(tmp_path: Path, papers: int, differ: int) -> None:
    night = write_night(tmp_path / "night")
    report = json.loads((night / "report.json").read_text())
    audited = {"date": "2026-03-08", "papers": papers, "disagreements": differ}
    audited |= {"clear_papers": 0, "clear_disagreements": 0}
    rate = {"papers": 50, "disagreements": 0, "low": 0.0, "high": 1.0, "level": 0.95}
    series = {"model": "m", "nights": [audited], "every": rate, "clear": rate, "begins": "it is the first"}
    tonight = {"papers": 0, "deferred": 0, "disagreements": 0, "clear_papers": 0, "clear_disagreements": 0}
    audit = {"graph": "int8", "tonight": tonight, "without_audit": 0, "not_audited": None, "series": series}
    (night / "report.json").write_text(json.dumps(report | {"audit": audit}))
    with pytest.raises(ConfigError, match=r"report\.json: not the report of a night; give the OUT folder"):
        read_previous(night)


@pytest.mark.parametrize(("days", "is_found"), [(PREVIOUS_DAYS, True), (PREVIOUS_DAYS + 1, False)])
def test_the_search_ends_after_so_many_days(tmp_path: Path, days: int, is_found: bool) -> None:
    config = config_of(tmp_path)
    write_night(tmp_path / str(config.date - (config.date - config.date.replace(month=3, day=9)) * days))
    found = previous_of(config)
    assert found is not None
    assert (found.used is not None) == is_found


def test_a_night_that_is_named_outright_and_failed_is_refused(tmp_path: Path) -> None:
    write_night(tmp_path / "before", succeeded=False)
    with pytest.raises(ConfigError, match=r"before: that night did not succeed, there is no _SUCCESS"):
        previous_of(config_of(tmp_path, "before"))


def test_a_comparison_without_an_earlier_night_to_name_is_wrong_usage() -> None:
    config = NightConfig.load(
        None, {"dump": "in", "out": "out", "bundle": "b", "gates": {"max_js_distance_previous": 0.1}}
    )
    with pytest.raises(UsageError, match=r"max_js_distance_previous compares .* add --previous 'nights/\{yesterday\}'"):
        previous_of(config)


CHANGES = {
    "label_papers": [[1], {"art": -1}, {"art": "x"}, None, {"other": 3}],
    "label_shares": [[1], {"art": 7}, {"art": None}, {}],
    "rows": [{}, [], {"in": 3}, {"in": "x", "rejected": 0, "failed": 0}],
    "score_histogram": [None, [], [0.5], ["x"] * 15],
    "mean_score": ["x", [], 3],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in CHANGES.items() for value in values])
def test_a_report_that_is_none_is_one_clear_sentence(tmp_path: Path, key: str, value: object) -> None:
    night = write_night(tmp_path / "night")
    report = json.loads((night / "report.json").read_text())
    (night / "report.json").write_text(json.dumps(report | {key: value}))
    with pytest.raises(ConfigError, match=r"report\.json: not the report of a night; give the OUT folder"):
        read_previous(night)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from([*CHANGES, "drift", "gates", "extra"]), value=JSON)
def test_no_content_of_a_report_ends_in_another_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    night = tmp_path_factory.mktemp("night")
    (night / "report.json").write_text(json.dumps(report_of().model_dump(mode="json") | {key: value}))
    try:
        report = read_previous(night)
    except ConfigError:
        return
    assert report is not None
    report_of(previous=report)


@pytest.mark.parametrize(("require", "passed"), [(False, None), (True, False)])
def test_without_an_earlier_night_the_comparison_gates_do_not_apply_unless_it_is_required(
    require: bool, passed: bool | None
) -> None:
    report = changed(report_of(), previous=PreviousReport(asked="nights/2026-03-09", used=None, passed_over={}))
    limits = GateLimits(max_psi_previous=0.1, max_js_distance_previous=0.1)
    gates = [gate for gate in judge(limits, report, require_previous=require) if gate.name.endswith("_previous")]
    assert [(gate.passed, gate.found) for gate in gates] == [(passed, None)] * 2
    assert gates[0].reason == "there is no earlier night at nights/2026-03-09 that succeeded"


def test_a_first_night_succeeds_and_says_which_gates_do_not_apply(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(4)])
    settings: dict[str, Any] = {
        "date": TONIGHT,
        "out": str(tmp_path / "{date}"),
        "previous": str(tmp_path / "{yesterday}"),
        "gates": {"max_psi_previous": 0.1},
    }
    result = night(dump, **settings)
    out = tmp_path / TONIGHT
    assert (result.exit_code, (out / "_SUCCESS").exists()) == (0, True)
    gate = result.report.gates[-1]
    assert str(gate).startswith("max_psi_previous 0.1000: not applicable, there is no earlier night at ")
    assert "not applicable" in (out / "report.md").read_text()
    assert "not applicable" in (out / "report.html").read_text()
    assert verify_night(out).differences == []
    assert f"gate     {gate}" in status_lines(night_status(out))
    metrics = render(night_metrics(result.report, result.manifest, exit_code=0, now=1.0, success=None))
    assert 'gate_not_applicable{gate="max_psi_previous"} 1' in metrics
    assert 'gate_passed{gate="max_psi_previous"}' not in metrics
    assert night(dump, **settings, require_previous=True).exit_code == 4


def test_a_drift_does_not_become_the_measure_of_the_night_after(night: RunNight, tmp_path: Path) -> None:
    usual = write_dump(tmp_path / "usual/a.parquet", [paper(i) for i in range(20)])
    settings = {"out": str(tmp_path / "{date}"), "previous": str(tmp_path / "{yesterday}")}
    first = night(usual, date="2026-03-01", **settings)
    assert first.exit_code == 0
    report = json.loads((tmp_path / "2026-03-01/report.json").read_text())
    names = list(report["label_papers"])
    # As if the first night had been of other papers: all of them in the label that tonight has none of.
    rare = min(names, key=lambda name: report["label_papers"][name])
    report["label_papers"] = {name: 20 if name == rare else 0 for name in names}
    report["label_shares"] = {name: float(name == rare) for name in names}
    (tmp_path / "2026-03-01/report.json").write_text(json.dumps(report))
    for day in ("2026-03-02", "2026-03-03", "2026-03-05"):
        result = night(usual, date=day, gates={"max_psi_previous": 0.1}, **settings)
        assert result.exit_code == 4
        assert result.report.previous.used == str(tmp_path / "2026-03-01")
    assert str(tmp_path / "2026-03-03") in result.report.previous.passed_over
    assert f"The previous night is {tmp_path / '2026-03-01'}" in (tmp_path / day / "report.html").read_text()


def test_the_output_of_another_command_is_no_earlier_night(night: RunNight, tiny_bundle: Path, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    with pytest.raises(ConfigError, match="holds the output of `specter-batch export`, not a night"):
        night(dump, previous=tiny_bundle)
