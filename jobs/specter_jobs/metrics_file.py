"""The night's figures for Prometheus, in its text format, for node_exporter's textfile collector.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from specter_batch.errors import ConfigError
from specter_batch.files import write_text
from specter_jobs.gates import inapplicable_gates
from specter_jobs.logs import log

PREFIX = "specter_batch_"
LAST_SUCCESS = f"{PREFIX}last_success_timestamp_seconds"

# Name, what it is, and its samples: labels and value. A sample without a value is left out.
Samples = list[tuple[Mapping[str, str], float | None]]
Metric = tuple[str, str, Samples]


def prepare_metrics_file(path: Path) -> None:
    """Make the folder, and check that no other file would be lost, before a night is spent.

    Raises:
        ConfigError: It cannot be written to, or the file holds something else than the figures of a night.
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


def write_metrics(
    path: Path, report: Mapping[str, Any], manifest: Mapping[str, Any], *, exit_code: int, now: float
) -> None:
    """Write the file whole.

    A night that is no success keeps the time of the last one from the file as it stands, so that an alert on its age
    works. A file that cannot be written is logged and costs no night.
    """
    try:
        success = now if exit_code == 0 else _last_success(path)
        write_text(path, render(night_metrics(report, manifest, exit_code=exit_code, now=now, success=success)))
    except OSError as error:
        log("metrics not written", level=logging.ERROR, file=str(path), error=str(error))


def night_metrics(
    report: Mapping[str, Any], manifest: Mapping[str, Any], *, exit_code: int, now: float, success: float | None
) -> Iterator[Metric]:
    """Yield all that is told of a night; every value is a gauge."""
    rows, shards, run = report["rows"], report["shards"], manifest["this_run"]
    outcomes = ("labelled", "reused", "rejected", "failed")
    yield "rows", "Rows of the input by outcome.", [({"outcome": name}, rows[name]) for name in outcomes]
    reasons = report["rejects_by_reason"]
    yield "rejects", "Rejected rows by reason.", [({"reason": name}, count) for name, count in reasons.items()]
    yield "shards", "Shards by state.", [({"state": name}, count) for name, count in shards.items()]
    yield "papers_per_second", "Papers labelled a second in this run.", [({}, run["papers_per_second"])]
    waited: Samples = [({}, run["model_wait_share"])]
    yield "model_wait_share", "Share of the labelling time in which the model was not at work.", waited
    yield "seconds", "Seconds from start to end.", [({}, manifest["seconds"])]
    yield "macro_f1", "Macro F1 over labelled papers that were not trained on.", [({}, report["macro_f1"])]
    yield "mean_score", "Mean calibrated score of the labels.", [({}, report["mean_score"])]
    sides = {name: side for name, side in report["drift"].items() if side is not None}
    yield "psi", "PSI of label shares.", [({"against": name}, side["psi"]) for name, side in sides.items()]
    distances: Samples = [({"against": name}, side["js_distance"]) for name, side in sides.items()]
    yield "js_distance", "Jensen-Shannon distance of label shares.", distances
    gates: Samples = [
        ({"gate": gate["name"]}, int(gate["passed"])) for gate in report["gates"] if gate["passed"] is not None
    ]
    yield "gate_passed", "Whether a gate passed: 1 or 0.", gates
    inapplicable: Samples = [({"gate": gate["name"]}, 1) for gate in inapplicable_gates(report)]
    yield "gate_not_applicable", "1 for a gate that does not apply: no earlier night to compare with.", inapplicable
    yield "exit_code", "0 done, 3 shards failed, 4 a gate failed.", [({}, exit_code)]
    device, bundle = manifest["device"], manifest["bundle"]
    facts = {"bundle": bundle["fingerprint"], "device": device["device"], "graph": device["graph"]}
    yield "info", "What labelled the night.", [(facts, 1)]
    yield "last_run_timestamp_seconds", "When the last night ended.", [({}, now)]
    yield "last_success_timestamp_seconds", "When the last night ended with exit code 0.", [({}, success)]


def render(metrics: Iterator[Metric]) -> str:
    """Write metrics in the text format; one without samples is left out."""
    lines: list[str] = []
    for name, about, samples in metrics:
        told = [(labels, value) for labels, value in samples if value is not None]
        if told:
            lines += [f"# HELP {PREFIX}{name} {about}", f"# TYPE {PREFIX}{name} gauge"]
            lines += [f"{PREFIX}{name}{_labels(labels)} {value}" for labels, value in told]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _is_ours(path: Path) -> bool:
    """Say whether a file is empty or begins with one of our metrics, with or without its help."""
    begins = (f"# HELP {PREFIX}".encode(), PREFIX.encode())
    try:
        with path.open("rb") as file:
            head = file.read(max(map(len, begins)))
            return not head or head.startswith(begins)
    except OSError as error:
        raise ConfigError(f"--metrics-file {path}: cannot be read ({error.strerror})") from error


def _last_success(path: Path) -> float | None:
    if not path.exists():
        return None
    found = re.search(
        rf"^{LAST_SUCCESS} ([0-9.e+]+)$", path.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE
    )
    try:
        return float(found.group(1)) if found else None
    except ValueError:  # 1.2.3: something else wrote this file
        return None
