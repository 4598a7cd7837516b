import inspect
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import ConfigError
from specter_jobs.cli.classify import classify
from specter_jobs.inspect.verify import verify_night
from specter_jobs.output.report_model.parts import GateVerdict
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.limits import GateLimits
from specter_jobs.report.gates import gates_markdown, judge
from support.night_reports import changed, report_of
from support.papers_on_disk import RunNight, paper, read_all, write_dump

REPORT = report_of(previous=report_of(seed=5), disagreements=20)
REPORT = changed(REPORT, rejects_by_reason={**REPORT.rejects_by_reason, "not_finite": 50})
FOUND = {
    "min_rows": REPORT.rows.rows_in,
    "min_macro_f1": REPORT.macro_f1,
    "min_mean_score": REPORT.mean_score,
    "max_reject_rate": 10 / 210,
    "max_not_finite_rate": 50 / 250,
    "max_disagreement": REPORT.audit.series.every.low,
    "max_clear_disagreement": REPORT.audit.series.clear.low,
    "max_psi": REPORT.drift.reference.psi,
    "max_js_distance": REPORT.drift.reference.js_distance,
    "max_psi_previous": REPORT.drift.previous.psi,
    "max_js_distance_previous": REPORT.drift.previous.js_distance,
}


# Every gate is off; those that a new configuration sets are `GateLimits()`.
OFF = dict.fromkeys(GateLimits.model_fields)


def verdicts(report: NightReport, **limits: float) -> dict[str, bool | None]:
    return {gate.name: gate.passed for gate in judge(GateLimits(**(OFF | limits)), report)}


def test_every_gate_is_tried_here() -> None:
    assert set(FOUND) == set(GateLimits.model_fields)


@pytest.mark.parametrize("name", FOUND)
def test_a_gate_passes_up_to_its_limit_and_fails_beyond(name: str) -> None:
    found = FOUND[name]
    step = 1 if name == "min_rows" else 0.001
    stricter = found + step if name.startswith("min_") else found - step
    assert verdicts(REPORT, **{name: found}) == {name: True}
    assert verdicts(REPORT, **{name: stricter}) == {name: False}


def test_a_gate_tells_its_limit_and_what_was_found() -> None:
    (gate,) = judge(GateLimits(**(OFF | {"max_reject_rate": 0.01})), REPORT)
    assert (gate.limit, gate.found, gate.reason) == (0.01, pytest.approx(10 / 210), None)


@pytest.mark.parametrize("name", ["min_macro_f1", "min_mean_score", "max_psi", "max_js_distance"])
def test_a_gate_that_cannot_be_judged_fails_and_says_why(name: str) -> None:
    (gate,) = judge(GateLimits(**(OFF | {name: 0.5})), report_of(papers=0, scored=0))
    assert (gate.passed, gate.found) == (False, None)
    assert gate.reason


def test_an_empty_night_fails_without_any_setting_and_has_a_label_file(night: RunNight, tmp_path: Path) -> None:
    result = night(write_dump(tmp_path / "in/a.parquet", []))
    assert result.exit_code == 4
    assert [gate.name for gate in result.report.gates if not gate.passed] == ["min_rows"]
    (file,) = (tmp_path / "out/labels").iterdir()
    assert pq.read_schema(file).names[:6] == ["paper_id", "label", "label_id", "score", "text_hash", "reused"]
    assert verify_night(tmp_path / "out").differences == []
    assert night(tmp_path / "in", gates={"min_rows": 0}).exit_code == 0


def test_a_gate_that_is_not_set_is_not_judged() -> None:
    assert judge(GateLimits(**OFF), REPORT) == ()
    assert gates_markdown([]) == "None set.\n"


@pytest.mark.parametrize("line", ["max_psi = inf", "max_psi = nan", "min_macro_f1 = 80", "min_rows = -1"])
def test_a_limit_that_means_nothing_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "night.toml"
    file.write_text(f"[gates]\n{line}\n")
    with pytest.raises(ConfigError, match=rf"gates\.{line.split()[0]}: "):
        NightConfig.load(file, {"dump": "in", "out": "out", "bundle": "b"})


def test_an_unknown_gate_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    file.write_text("[gates]\nmax_pssi = 1\n")
    with pytest.raises(ConfigError, match=r"gates\.max_pssi: .*known settings: min_rows, min_macro_f1"):
        NightConfig.load(file, {"dump": "in", "out": "out", "bundle": "b"})


def test_every_setting_is_a_flag_or_argument_of_classify() -> None:
    flags = {name.removesuffix("_") for name in inspect.signature(classify).parameters}  # format_ is --format
    assert {*NightConfig.model_fields, *GateLimits.model_fields} - {"gates"} <= flags


def test_a_gate_is_described_in_one_line() -> None:
    gate = GateVerdict(name="min_rows", limit=1000, found=90, passed=False)
    assert str(gate) == "min_rows 1,000: failed, found 90"
    gate = GateVerdict(name="max_psi", limit=0.1, found=None, passed=False, reason="no paper was labelled")
    assert str(gate) == "max_psi 0.1000: failed, no paper was labelled"


@pytest.mark.parametrize(("not_finite", "passed"), [(0, True), (10, True), (50, False), (None, True)])
def test_a_model_that_gives_nan_for_many_papers_fails_by_default(not_finite: int | None, passed: bool) -> None:
    report = report_of(papers=100 if not_finite is not None else 0, scored=0)
    if not_finite:
        report = changed(report, rejects_by_reason={**report.rejects_by_reason, "not_finite": not_finite})
    (gate,) = [gate for gate in judge(GateLimits(), report) if gate.name == "max_not_finite_rate"]
    assert gate.passed is passed


def test_a_failed_gate_leaves_the_labels_and_withholds_the_success_marker(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(6)])
    result = night(dump, gates={"min_rows": 7, "max_reject_rate": 0.5})
    assert result.exit_code == 4
    assert result.report.gates == (
        GateVerdict(name="min_rows", limit=7, found=6, passed=False),
        GateVerdict(name="max_reject_rate", limit=0.5, found=0.0, passed=True),
        GateVerdict(name="max_not_finite_rate", limit=0.1, found=0.0, passed=True),
    )
    assert len(read_all(tmp_path / "out/labels")) == 6
    assert not (tmp_path / "out/_SUCCESS").exists()
    assert "- min_rows 7: failed, found 6" in (tmp_path / "out/report.md").read_text().splitlines()


def test_a_wider_limit_is_judged_anew_without_labelling_again(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(6)])
    assert night(dump, gates={"min_rows": 7}).exit_code == 4
    again = night(dump, gates={"min_rows": 6})
    assert (again.exit_code, again.manifest.this_run.shards) == (0, 0)
    assert (tmp_path / "out/_SUCCESS").exists()


def test_failed_shards_win_over_failed_gates(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1)])
    (tmp_path / "in/b.parquet").write_bytes(b"nonsense")
    result = night(tmp_path / "in", gates={"min_rows": 7})
    assert result.exit_code == 3
    assert [gate.name for gate in result.report.gates if not gate.passed] == ["min_rows"]


def test_the_command_names_failed_gates_and_flags_win_over_the_file(tiny_bundle: Path, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(6)])
    config = tmp_path / "night.toml"
    config.write_text("device = 'cpu'\n[gates]\nmin_rows = 1\nmin_macro_f1 = 0.5\n")
    arguments = [str(dump), str(tmp_path / "out"), "--bundle", str(tiny_bundle), "--config", str(config)]
    done = CliRunner().invoke(build_app(), ["classify", *arguments, "--min-rows", "100"])
    assert done.exit_code == 4
    gates = re.findall(r"^gate (.*)$", done.stdout, flags=re.MULTILINE)
    assert gates == ["min_rows 100: failed, found 6", "min_macro_f1 0.5000: failed, no unseen paper had a true label"]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (manifest["config"]["gates"]["min_rows"], manifest["config"]["gates"]["min_macro_f1"]) == (100, 0.5)
