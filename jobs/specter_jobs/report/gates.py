"""Gates: limits that a night must keep before it counts as a success."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from specter_batch.display import markdown_text
from specter_jobs.plan.limits import GateLimits
from specter_jobs.report.drift import reject_rate

Report = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate's verdict.

    Attributes:
        found: None when the night has nothing to judge; `reason` says why.
        passed: None when the gate does not apply to this night: there is no earlier night to compare with.
    """

    name: str
    limit: float
    found: float | None
    passed: bool | None
    reason: str | None = None


def _drift(side: str, figure: str) -> Callable[[Report], float | None]:
    def find(report: Report) -> float | None:
        compared = report["drift"][side]
        return None if compared is None else compared[figure]

    return find


def _not_finite_rate(report: Report) -> float | None:
    not_finite = report["rejects_by_reason"].get("not_finite", 0)
    asked = report["rows"]["labelled"] + report["rows"]["reused"] + not_finite
    return not_finite / asked if asked else 0.0


_NONE_LABELLED = "no paper was labelled"
# Gate -> what it looks at, and what it means when that is not there.
_FIGURES: Mapping[str, tuple[Callable[[Report], float | None], str]] = {
    "min_rows": (lambda report: report["rows"]["in"], "there is no input"),
    "min_macro_f1": (lambda report: report["macro_f1"], "no unseen paper had a true label"),
    "min_mean_score": (lambda report: report["mean_score"], _NONE_LABELLED),
    "max_reject_rate": (reject_rate, "no row was read"),
    "max_not_finite_rate": (_not_finite_rate, ""),
    "max_psi": (_drift("reference", "psi"), _NONE_LABELLED),
    "max_js_distance": (_drift("reference", "js_distance"), _NONE_LABELLED),
    "max_psi_previous": (_drift("previous", "psi"), _NONE_LABELLED),
    "max_js_distance_previous": (_drift("previous", "js_distance"), _NONE_LABELLED),
}
# The gates that compare with an earlier night.
COMPARISON_GATES = ("max_psi_previous", "max_js_distance_previous")


def judge(limits: GateLimits, report: Report, *, require_previous: bool = False) -> list[GateResult]:
    """Hold a report, with its drift, against the limits that are set.

    A gate whose figure the night does not have fails, because a limit that is set should hold. The exception are gates
    that compare with an earlier night: without one, as in the first night, they do not apply.

    Args:
        limits: The limits; a gate without one is not judged.
        report: `report.json` without its gates.
        require_previous: Fail the gates that compare with an earlier night also when there is none.
    """
    results = []
    for name, limit in limits.model_dump(exclude_none=True).items():
        find, missing = _FIGURES[name]
        found = find(report)
        if name in COMPARISON_GATES and report["drift"]["previous"] is None:
            passed, reason = False if require_previous else None, _no_previous(report)
        elif found is None:
            passed, reason = False, missing
        else:
            passed, reason = found >= limit if name.startswith("min_") else found <= limit, None
        results.append(GateResult(name=name, limit=limit, found=found, passed=passed, reason=reason))
    return results


def _no_previous(report: Report) -> str:
    previous = report["previous"]
    where = "" if previous is None else f" at {previous['asked']}"
    return f"there is no earlier night{where} that succeeded"


def verdict(gate: Mapping[str, Any]) -> str:
    """Return the verdict of a gate of `report.json` in words."""
    return "not applicable" if gate["passed"] is None else "passed" if gate["passed"] else "failed"


def describe_gate(gate: Mapping[str, Any]) -> str:
    """Say a gate of `report.json` in one line."""
    found = gate["reason"] if gate["found"] is None else f"found {number(gate['found'])}"
    return f"{gate['name']} {number(gate['limit'])}: {verdict(gate)}, {found}"


def succeeded(report: Report) -> bool:
    """Say whether no shard and no gate of a night failed."""
    return not report["failed_shards"] and not failed_gates(report)


def inapplicable_gates(report: Report) -> list[Mapping[str, Any]]:
    """Return the gates of `report.json` that do not apply to the night."""
    return [gate for gate in report["gates"] if gate["passed"] is None]


def failed_gates(report: Report) -> list[Mapping[str, Any]]:
    """Return the gates of `report.json` that failed."""
    return [gate for gate in report["gates"] if gate["passed"] is False]


def gates_markdown(gates: Sequence[Mapping[str, Any]]) -> str:
    """Render the gates as a Markdown list."""
    return "\n".join(f"- {markdown_text(describe_gate(gate))}" for gate in gates) + "\n" if gates else "None set.\n"


def number(value: float) -> str:
    """Write a count in full and anything else with four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
