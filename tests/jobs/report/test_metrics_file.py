import stat
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from specter_batch.errors import ConfigError
from specter_batch.metrics.score_report import EstimatedScores
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.plan.limits import GateLimits
from specter_jobs.report.metrics_file import night_metrics, render, write_metrics
from support.night_reports import changed, manifest_of, report_of
from support.papers_on_disk import RunNight, paper, write_dump


def samples(text: str) -> dict[str, float]:
    """Parse the text format; the keys are names with labels."""
    assert text.endswith("\n")
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        for sample in family.samples:
            assert sample.name == family.name
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found
            found[key] = sample.value
    return found


def told(report: NightReport, *, exit_code: int = 0, success: float | None = 5.0) -> dict[str, float]:
    metrics = night_metrics(report, manifest_of(report), exit_code=exit_code, now=9.0, success=success)
    return samples(render(metrics))


def test_rows_and_rejects_are_told_by_outcome_and_reason() -> None:
    found = told(report_of(failed_shards={"a": "is gone"}))
    assert found['specter_batch_rows{outcome="labelled"}'] == 200
    assert found['specter_batch_rows{outcome="rejected"}'] == 10
    assert found['specter_batch_rows{outcome="failed"}'] == 50
    assert found['specter_batch_rejects{reason="not_english"}'] == 7
    assert found['specter_batch_shards{state="failed"}'] == 1


def test_speed_scores_drift_and_gates_are_told() -> None:
    report = report_of(previous=report_of(seed=4), gates=GateLimits(min_rows=1, max_reject_rate=0))
    found = told(report, exit_code=4)
    assert (found["specter_batch_papers_per_second"], found["specter_batch_seconds"]) == (4, 600)
    assert found["specter_batch_model_wait_share"] == 0.125
    assert found["specter_batch_macro_f1"] == pytest.approx(report.macro_f1)
    assert found['specter_batch_psi{against="previous"}'] == pytest.approx(report.drift.previous.psi)
    assert found['specter_batch_gate_passed{gate="min_rows"}'] == 1
    assert found['specter_batch_gate_passed{gate="max_reject_rate"}'] == 0
    assert found["specter_batch_exit_code"] == 4


def test_the_estimate_is_told_with_its_bounds_and_left_out_where_there_is_none() -> None:
    estimated = EstimatedScores(
        papers=200,
        accuracy=0.75,
        accuracy_low=0.7,
        accuracy_high=0.8,
        macro_f1=0.6,
        macro_f1_low=0.5,
        macro_f1_high=0.65,
        f1=(0.5, 0.7, None),
    )
    found = told(changed(report_of(), estimated=estimated))
    names = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low", "macro_f1_high")
    for name in names:
        figure, _, bound = name.replace("macro_f1", "macro-f1").partition("_")
        figure = figure.replace("-", "_")
        key = f'specter_batch_estimated_{figure}{{bound="{bound or "estimate"}"}}'
        assert found[key] == getattr(estimated, name)
    assert [name for name in told(report_of()) if "estimated" in name] == []


def test_what_a_night_does_not_have_is_left_out() -> None:
    found = told(report_of(papers=0, scored=0), success=None)
    absent = ("macro_f1", "mean_score", "psi", "gate_not_applicable", "last_success_timestamp_seconds")
    assert [name for name in found if name.removeprefix("specter_batch_").startswith(absent)] == []
    assert found["specter_batch_last_run_timestamp_seconds"] == 9


def test_label_values_are_escaped() -> None:
    reason = 'a "quoted"\\ reason\nof two lines'
    report = changed(report_of(), rejects_by_reason={reason: 3})
    assert told(report)[f'specter_batch_rejects{{reason="{reason}"}}'] == 3


def test_the_names_labels_and_help_lines_that_dashboards_use_stay(tmp_path: Path) -> None:
    report = report_of(previous=report_of(seed=4), gates=GateLimits(min_rows=1))
    write_metrics(tmp_path / "night.prom", report, manifest_of(report), exit_code=0, now=1763800000.25)
    lines = (tmp_path / "night.prom").read_text().splitlines()
    assert lines[:3] == [
        "# HELP specter_batch_rows Rows of the input by outcome.",
        "# TYPE specter_batch_rows gauge",
        'specter_batch_rows{outcome="labelled"} 200.0',
    ]
    assert lines[-1] == "specter_batch_last_success_timestamp_seconds 1.76380000025e+09"
    names = [line.split()[2].removeprefix("specter_batch_") for line in lines if line.startswith("# TYPE")]
    assert names == [
        "rows", "rejects", "shards", "papers_per_second", "model_wait_share", "seconds", "macro_f1",
        "audited_papers", "audit_disagreements", "disagreement", "mean_score",
        "psi", "js_distance", "gate_passed", "exit_code", "info", "last_run_timestamp_seconds",
        "last_success_timestamp_seconds",
    ]  # fmt: skip


def test_a_failed_night_keeps_the_time_of_the_last_success(tmp_path: Path) -> None:
    file, report = tmp_path / "night.prom", report_of()
    name = "specter_batch_last_success_timestamp_seconds"
    times = []
    for exit_code, now in ((4, 1.0), (0, 1763800000.25), (3, 1763900000.0), (4, 1763990000.0), (0, 1764000000.0)):
        write_metrics(file, report, manifest_of(report), exit_code=exit_code, now=now)
        times.append(samples(file.read_text()).get(name))
    assert times == [None, 1763800000.25, 1763800000.25, 1763800000.25, 1764000000.0]


@pytest.mark.parametrize("time", ["1.2.3", "NaN", "", "{", 'a"', "1" * 400])
def test_a_last_success_that_is_no_time_is_ignored(tmp_path: Path, time: str) -> None:
    file, report = tmp_path / "night.prom", report_of()
    file.write_text(f"specter_batch_last_success_timestamp_seconds {time}\n")
    write_metrics(file, report, manifest_of(report), exit_code=4, now=1.0)
    assert "specter_batch_last_success_timestamp_seconds" not in samples(file.read_text())


def test_a_night_writes_the_file_whole_and_readable_for_the_collector(night: RunNight, tmp_path: Path) -> None:
    file = tmp_path / "metrics/night.prom"
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1), paper(2, title=None)])
    night(dump, metrics_file=file)
    found = samples(file.read_text())
    assert found['specter_batch_rows{outcome="labelled"}'] == 1
    assert found['specter_batch_rejects{reason="missing_title"}'] == 1
    assert found["specter_batch_last_success_timestamp_seconds"] > 1.7e9
    assert stat.S_IMODE(file.stat().st_mode) & 0o644 == 0o644
    assert [path.name for path in file.parent.iterdir()] == ["night.prom"]


def test_a_file_that_cannot_be_written_is_refused_before_the_night(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file/night.prom"):
        with pytest.raises(ConfigError, match="--metrics-file"):
            night(dump, metrics_file=path)
    assert not (tmp_path / "out").exists()


def test_a_file_of_something_else_is_never_overwritten(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    before = dump.read_bytes()
    with pytest.raises(ConfigError, match="holds something else than metrics of specter-batch"):
        night(dump, metrics_file=dump)
    assert dump.read_bytes() == before
    (tmp_path / "night.prom").touch()
    for _ in range(2):
        night(dump, metrics_file=tmp_path / "night.prom")


def test_metrics_that_cannot_be_written_at_the_end_cost_no_night(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = report_of()
    write_metrics(tmp_path / "gone/night.prom", report, manifest_of(report), exit_code=0, now=1.0)
    assert caplog.messages == ["metrics not written"]
