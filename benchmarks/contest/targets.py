"""Targets of the job on a CPU, compared with the figures of `side_by_side.py`."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from contest.contenders import JOB, SESSION, STUDENT_HALF, STUDY

# "As fast as" allows for the difference between two runs of the same code.
LEVEL = 0.95
MAX_LABELS_CHANGED = 0.005
MAX_OVERHEAD = 0.05

# Name, method, the method it is compared with, and how many times as fast it must be.
SPEEDS = (
    ("the job against the study's loop", JOB, STUDY, 6.0),
    ("the job against `pipeline` with Optimum's int8", JOB, "pipeline_int8", 1.5),
    ("the job against OpenVINO bf16", JOB, "openvino_bf16", 1.0),
    ("our int8 without deferral against OpenVINO int8", "int8", "openvino_int8", LEVEL),
    ("a student with half of the layers against OpenVINO int8", STUDENT_HALF, "openvino_int8", 2.0),
    ("a student with half of the layers against `pipeline` with Optimum's int8", STUDENT_HALF, "pipeline_int8", 2.0),
)

Measured = Mapping[str, Mapping[str, Any]]


def judge(measured: Measured, *, trained: bool) -> list[dict[str, Any]]:
    """Return each target with its figure: `name, limit, found, low, high, reached`, and `note`.

    Args:
        measured: Figures by key of the method: `rates` (papers per second in each round) and `labels_changed`.
        trained: True if the model is trained. The labels of random weights mean nothing.
    """
    targets = [_labels_changed(measured, trained=trained)]
    targets += [_speed(measured, name, one, other, limit) for name, one, other, limit in SPEEDS]
    missing = {SESSION, JOB} - set(measured)
    overheads = [] if missing else [ratio - 1 for ratio in ratios(measured, SESSION, JOB)]
    name = "overhead of the job over its bare session"
    targets.append(_verdict(name, overheads, limit=MAX_OVERHEAD, most=True, note=_not_measured(missing)))
    return targets


def ratios(measured: Measured, one: str, other: str) -> list[float]:
    """Return how many times as fast one method is as the other in each round, in which both had the same conditions."""
    pairs = zip(measured[one]["rates"], measured[other]["rates"], strict=True)
    return [rate / other_rate for rate, other_rate in pairs]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, lowest and highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def _labels_changed(measured: Measured, *, trained: bool) -> dict[str, Any]:
    changed = measured[SESSION]["labels_changed"] if SESSION in measured else None
    name = "labels that differ from fp32"
    if changed is None or not trained:
        note = "not measured" if trained else "the weights are random: labels mean nothing"
        return _verdict(name, [], limit=MAX_LABELS_CHANGED, most=True, note=note)
    note = f"{changed['changed']} of {changed['papers']} papers"
    return _verdict(name, [changed["share"]], limit=MAX_LABELS_CHANGED, most=True, note=note)


def _speed(measured: Measured, name: str, one: str, other: str, limit: float) -> dict[str, Any]:
    missing = {one, other} - set(measured)
    found = [] if missing else ratios(measured, one, other)
    return _verdict(name, found, limit=limit, most=False, note=_not_measured(missing))


def _not_measured(missing: set[str]) -> str:
    return f"not measured: {', '.join(sorted(missing))}" if missing else ""


def _verdict(name: str, found: Sequence[float], *, limit: float, most: bool, note: str) -> dict[str, Any]:
    target: dict[str, Any] = {"name": name, "limit": limit, "at_most": most, "note": note}
    if not found:
        return target | {"found": None, "low": None, "high": None, "reached": None}
    told = spread(found)
    reached = told["median"] <= limit if most else told["median"] >= limit
    return target | {"found": told["median"], "low": told["low"], "high": told["high"], "reached": reached}
