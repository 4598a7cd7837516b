"""Gates: limits that a night must keep before it counts as a success."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from specter_batch.display import markdown_text
from specter_batch.settings import Settings
from specter_jobs.drift import reject_rate

Report = Mapping[str, Any]
Share = Annotated[float, Field(ge=0, le=1)]
# Without the second bound TOML's `inf` would pass, and JSON cannot say it.
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class GateLimits(Settings):
    """The section `[gates]`; a gate that is not set is not judged.

    Attributes:
        min_rows: Fewest rows of the input. The default of 1 fails a night of an empty dump.
        min_macro_f1: Over labelled papers that were not trained on.
        min_mean_score: Of all labelled papers.
        max_reject_rate: Rejected rows by rows.
        max_psi: Of label shares against the bundle's validation data.
        max_js_distance: The same, as Jensen-Shannon distance.
        max_psi_previous: Of label shares against the previous night.
        max_js_distance_previous: The same, as Jensen-Shannon distance.
    """

    min_rows: Annotated[int, Field(ge=0)] | None = 1
    min_macro_f1: Share | None = None
    min_mean_score: Share | None = None
    max_reject_rate: Share | None = None
    max_psi: Positive | None = None
    max_js_distance: Share | None = None
    max_psi_previous: Positive | None = None
    max_js_distance_previous: Share | None = None


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate's verdict.

    Attributes:
        found: None when the night has nothing to judge; the gate has failed then, and `reason` says why.
    """

    name: str
    limit: float
    found: float | None
    passed: bool
    reason: str | None = None


def _drift(side: str, figure: str) -> Callable[[Report], float | None]:
    def find(report: Report) -> float | None:
        compared = report["drift"][side]
        return None if compared is None else compared[figure]

    return find


_NO_PREVIOUS = "there is no previous night to compare with, or it or this one labelled nothing"
# Gate -> what it looks at, and what it means when that is not there.
_FIGURES: Mapping[str, tuple[Callable[[Report], float | None], str]] = {
    "min_rows": (lambda report: report["rows"]["in"], "there is no input"),
    "min_macro_f1": (lambda report: report["macro_f1"], "no unseen paper had a true label"),
    "min_mean_score": (lambda report: report["mean_score"], "no paper was labelled"),
    "max_reject_rate": (reject_rate, "no row was read"),
    "max_psi": (_drift("reference", "psi"), "no paper was labelled"),
    "max_js_distance": (_drift("reference", "js_distance"), "no paper was labelled"),
    "max_psi_previous": (_drift("previous", "psi"), _NO_PREVIOUS),
    "max_js_distance_previous": (_drift("previous", "js_distance"), _NO_PREVIOUS),
}


def judge(limits: GateLimits, report: Report) -> list[GateResult]:
    """Hold a report, with its drift, against the limits that are set.

    A gate whose figure the night does not have fails: who sets a limit wants it kept, not passed over.
    """
    results = []
    for name, limit in limits.model_dump(exclude_none=True).items():
        find, missing = _FIGURES[name]
        found = find(report)
        passed = found is not None and (found >= limit if name.startswith("min_") else found <= limit)
        reason = missing if found is None else None
        results.append(GateResult(name=name, limit=limit, found=found, passed=passed, reason=reason))
    return results


def describe_gate(gate: Mapping[str, Any]) -> str:
    """Say a gate of `report.json` in one line."""
    found = gate["reason"] if gate["found"] is None else f"found {number(gate['found'])}"
    return f"{gate['name']} {number(gate['limit'])}: {'passed' if gate['passed'] else 'failed'}, {found}"


def failed_gates(report: Report) -> list[Mapping[str, Any]]:
    """Return the gates of `report.json` that failed."""
    return [gate for gate in report["gates"] if not gate["passed"]]


def gates_markdown(gates: Sequence[Mapping[str, Any]]) -> str:
    """Render the gates as a Markdown list."""
    return "\n".join(f"- {markdown_text(describe_gate(gate))}" for gate in gates) + "\n" if gates else "None set.\n"


def number(value: float) -> str:
    """Write a count in full and anything else with four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
