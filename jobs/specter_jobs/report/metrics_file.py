"""The metrics of a night for Prometheus: a text file for node_exporter's textfile collector."""

import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from specter_batch.errors import ConfigError
from specter_batch.logs import log
from specter_batch.storage.files import write_text
from specter_jobs.output.report_model.audit import AuditReport
from specter_jobs.output.report_model.manifest import NightManifest
from specter_jobs.output.report_model.report import NightReport

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

PREFIX = "specter_batch_"
LAST_SUCCESS = f"{PREFIX}last_success_timestamp_seconds"

# Labels and value of each sample; a sample without a value is left out.
Samples = list[tuple[Mapping[str, str], float | None]]
# Name, help and samples of a gauge; its samples have the same label names.
Metric = tuple[str, str, Samples]


def prepare_metrics_file(path: Path) -> None:
    """Create the folder of the metrics file, and check before the night that no other file would be replaced.

    Raises:
        ConfigError: The file cannot be written, or it holds something else than metrics of a night.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--metrics-file {path}: its folder cannot be made ({error.strerror})") from error
    if (path.exists() and not path.is_file()) or not os.access(path.parent, os.W_OK):
        raise ConfigError(
            f"--metrics-file {path}: cannot be written; give a file in a folder that this user may change"
        )
    if path.exists() and not _is_ours(path):
        raise ConfigError(
            f"--metrics-file {path}: holds something else than metrics of specter-batch, and would be replaced; give "
            "another file, for example one whose name ends in .prom"
        )


def write_metrics(path: Path, report: NightReport, manifest: NightManifest, *, exit_code: int, now: float) -> None:
    """Replace the metrics file atomically.

    A night that did not succeed keeps the time of the last success from the present file, so that an alert on its age
    works. If the file cannot be written, an error is logged and the night still counts.
    """
    try:
        success = now if exit_code == 0 else _last_success(path)
        write_text(path, render(night_metrics(report, manifest, exit_code=exit_code, now=now, success=success)))
    except OSError as error:
        log("metrics not written", level=logging.ERROR, file=str(path), error=str(error))


def night_metrics(
    report: NightReport, manifest: NightManifest, *, exit_code: int, now: float, success: float | None
) -> Iterator[Metric]:
    """Yield the metrics of a night; every metric is a gauge.

    Args:
        report: Report of the night.
        manifest: Manifest of the night.
        exit_code: The exit code of the night.
        now: The end of the night, in seconds since the epoch.
        success: The end of the last night with exit code 0, in seconds since the epoch; None if there was none.
    """
    run, sides = manifest.this_run, report.drift.sides
    rows: Samples = [({"outcome": name}, count) for name, count in report.rows.outcomes.items()]
    yield "rows", "Rows of the input by outcome.", rows
    rejects: Samples = [({"reason": name}, count) for name, count in report.rejects_by_reason.items()]
    yield "rejects", "Rejected rows by reason.", rejects
    shards: Samples = [({"state": name}, count) for name, count in report.shards.model_dump().items()]
    yield "shards", "Shards by state.", shards
    yield "papers_per_second", "Papers labelled a second in this run.", [({}, run.papers_per_second)]
    waited: Samples = [({}, run.model_wait_share)]
    yield "model_wait_share", "Share of the labelling time in which the model was idle.", waited
    yield "seconds", "Seconds from start to end.", [({}, manifest.seconds)]
    yield "macro_f1", "Macro F1 over labelled papers that were not trained on.", [({}, report.macro_f1)]
    if (estimated := report.estimated) is not None:
        about = "estimated without true labels, and the ends of its 95 % interval."
        accuracy = _bounds(estimated.accuracy, estimated.accuracy_low, estimated.accuracy_high)
        yield "estimated_accuracy", f"Accuracy, {about}", accuracy
        macro_f1 = _bounds(estimated.macro_f1, estimated.macro_f1_low, estimated.macro_f1_high)
        yield "estimated_macro_f1", f"Macro F1, {about}", macro_f1
    if report.audit is not None:
        yield from _audit(report.audit)
    yield "mean_score", "Mean calibrated score of the labels.", [({}, report.mean_score)]
    yield "psi", "PSI of label shares.", [({"against": name}, side.psi) for name, side in sides.items()]
    distances: Samples = [({"against": name}, side.js_distance) for name, side in sides.items()]
    yield "js_distance", "Jensen-Shannon distance of label shares.", distances
    gates: Samples = [({"gate": gate.name}, int(gate.passed)) for gate in report.gates if gate.passed is not None]
    yield "gate_passed", "Whether a gate passed: 1 or 0.", gates
    inapplicable: Samples = [({"gate": gate.name}, 1) for gate in report.inapplicable_gates]
    yield "gate_not_applicable", "1 for a gate that does not apply: nothing to compare with.", inapplicable
    yield "exit_code", "0 done, 3 shards failed, 4 a gate failed.", [({}, exit_code)]
    device = manifest.device
    facts = {"bundle": manifest.bundle.fingerprint, "device": device.device, "graph": device.graph}
    yield "info", "What labelled the night.", [(facts, 1)]
    yield "last_run_timestamp_seconds", "When the last night ended.", [({}, now)]
    yield "last_success_timestamp_seconds", "When the last night ended with exit code 0.", [({}, success)]


def _audit(audit: AuditReport) -> Iterator[Metric]:
    tonight, series = audit.tonight, audit.series
    kinds = {"all": series.every, "clear": series.clear}
    papers = {("tonight", "all"): tonight.papers, ("tonight", "clear"): tonight.clear_papers}
    papers |= {("series", kind): rate.papers for kind, rate in kinds.items()}
    differ = {("tonight", "all"): tonight.disagreements, ("tonight", "clear"): tonight.clear_disagreements}
    differ |= {("series", kind): rate.disagreements for kind, rate in kinds.items()}
    for name, about, figures in (
        ("audited_papers", "Papers whose label was compared with the fp32 graph.", papers),
        ("audit_disagreements", "Compared papers whose label differs from the fp32 graph.", differ),
    ):
        yield name, about, [({"nights": nights, "papers": kind}, figure) for (nights, kind), figure in figures.items()]
    bounds = [
        (kind, bound, getattr(rate, bound)) for kind, rate in kinds.items() if rate.papers for bound in ("low", "high")
    ]
    about = "Bounds of the share of labels that differ from the fp32 graph, over the nights of the series."
    yield "disagreement", about, [({"papers": kind, "bound": bound}, figure) for kind, bound, figure in bounds]


def _bounds(estimate: float, low: float, high: float) -> Samples:
    figures = {"estimate": estimate, "low": low, "high": high}
    return [({"bound": name}, figure) for name, figure in figures.items()]


def render(metrics: Iterable[Metric]) -> str:
    """Return metrics in Prometheus' text format; a metric without samples is left out."""
    from prometheus_client import generate_latest  # here, because it imports an HTTP server, which takes 60 ms

    return generate_latest(_Collector(metrics)).decode()


@dataclass(frozen=True)
class _Collector:
    """The collector from which `prometheus_client` gets the metrics."""

    metrics: Iterable[Metric]

    def collect(self) -> Iterator["GaugeMetricFamily"]:
        from prometheus_client.core import GaugeMetricFamily

        for name, about, samples in self.metrics:
            with_value = [(labels, value) for labels, value in samples if value is not None]
            if with_value:
                gauge = GaugeMetricFamily(f"{PREFIX}{name}", about, labels=list(with_value[0][0]))
                for labels, value in with_value:
                    gauge.add_metric(list(labels.values()), value)
                yield gauge


def _is_ours(path: Path) -> bool:
    """Return whether a file is empty or begins with one of our metrics, with or without its help line."""
    begins = (f"# HELP {PREFIX}".encode(), PREFIX.encode())
    try:
        with path.open("rb") as file:
            head = file.read(max(map(len, begins)))
            return not head or head.startswith(begins)
    except OSError as error:
        raise ConfigError(f"--metrics-file {path}: cannot be read ({error.strerror})") from error


def _last_success(path: Path) -> float | None:
    """Return the time of the last success in a metrics file; None if the file has none, or cannot be parsed."""
    from prometheus_client.parser import text_string_to_metric_families

    if not path.exists():
        return None
    try:
        families = text_string_to_metric_families(path.read_text(encoding="utf-8", errors="replace"))
        samples = [sample for family in families for sample in family.samples if sample.name == LAST_SUCCESS]
        time = float(samples[0].value) if samples else math.nan
    except (ValueError, IndexError, OverflowError):  # something else wrote this file
        return None
    return time if math.isfinite(time) else None
