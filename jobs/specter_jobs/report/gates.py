"""Gates: limits that a night must keep before it counts as a success."""

from collections.abc import Callable, Mapping, Sequence

from specter_batch.display import markdown_text
from specter_jobs.output.report_model.audit import AuditedRate, AuditSeries
from specter_jobs.output.report_model.parts import DriftSide, GateVerdict
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.plan.limits import GateLimits

# The gates that compare with an earlier night.
COMPARISON_GATES = ("max_psi_previous", "max_js_distance_previous")
# The gates that need an audit.
AUDIT_GATES = ("max_disagreement", "max_clear_disagreement")


def judge(limits: GateLimits, report: NightReport, *, require_previous: bool = False) -> tuple[GateVerdict, ...]:
    """Compare a report with the limits that are set.

    A gate fails if its figure cannot be computed. Gates that compare with an earlier night do not apply if there is no
    earlier night, as in the first night. Gates of the audit do not apply if no label was compared.

    Args:
        limits: The limits. A gate without a limit is not checked.
        report: The report. Verdicts that it already has are ignored.
        require_previous: True to fail the gates that compare with an earlier night if there is no earlier night.
    """
    return tuple(
        _judge(name, limit, report, require_previous=require_previous)
        for name, limit in limits.model_dump(exclude_none=True).items()
    )


def _judge(name: str, limit: float, report: NightReport, *, require_previous: bool) -> GateVerdict:
    find, missing = _FIGURES[name]
    value = find(report)
    passed: bool | None
    if name in COMPARISON_GATES and report.drift.previous is None:
        passed, reason = False if require_previous else None, _no_previous(report)
    elif value is None:
        passed, reason = None if name in AUDIT_GATES else False, missing
    else:
        passed, reason = value >= limit if name.startswith("min_") else value <= limit, None
    return GateVerdict(name=name, limit=limit, found=value, passed=passed, reason=reason)


def _psi(side: DriftSide | None) -> float | None:
    return None if side is None else side.psi


def _js_distance(side: DriftSide | None) -> float | None:
    return None if side is None else side.js_distance


def _not_finite_rate(report: NightReport) -> float | None:
    not_finite = report.rejects_by_reason.get("not_finite", 0)
    answered = report.rows.labelled + report.rows.reused + not_finite
    return not_finite / answered if answered else 0.0


def _shown_disagreement(report: NightReport, rate_of: Callable[[AuditSeries], AuditedRate]) -> float | None:
    """Return the share of differing labels that the audit has shown; None if nothing was compared."""
    rate = None if report.audit is None else rate_of(report.audit.series)
    return None if rate is None or not rate.papers else rate.low


_NONE_LABELLED = "no paper was labelled"
# Gate -> the figure that it checks, and the reason if the figure cannot be computed.
_FIGURES: Mapping[str, tuple[Callable[[NightReport], float | None], str]] = {
    "min_rows": (lambda report: report.rows.rows_in, "there is no input"),
    "min_macro_f1": (lambda report: report.macro_f1, "no unseen paper had a true label"),
    "min_mean_score": (lambda report: report.mean_score, _NONE_LABELLED),
    "max_reject_rate": (lambda report: report.rows.reject_rate, "no row was read"),
    "max_not_finite_rate": (_not_finite_rate, ""),
    "max_disagreement": (
        lambda report: _shown_disagreement(report, lambda series: series.every),
        "no label was compared with the exact model",
    ),
    "max_clear_disagreement": (
        lambda report: _shown_disagreement(report, lambda series: series.clear),
        "no label of a clear paper was compared with the exact model",
    ),
    "max_psi": (lambda report: _psi(report.drift.reference), _NONE_LABELLED),
    "max_js_distance": (lambda report: _js_distance(report.drift.reference), _NONE_LABELLED),
    "max_psi_previous": (lambda report: _psi(report.drift.previous), _NONE_LABELLED),
    "max_js_distance_previous": (lambda report: _js_distance(report.drift.previous), _NONE_LABELLED),
}


def _no_previous(report: NightReport) -> str:
    where = "" if report.previous is None else f" at {report.previous.asked}"
    return f"there is no earlier night{where} that succeeded"


def gates_markdown(gates: Sequence[GateVerdict]) -> str:
    """Render the gates as a Markdown list."""
    return "\n".join(f"- {markdown_text(str(gate))}" for gate in gates) + "\n" if gates else "None set.\n"
