"""The audit of a night: add up its shards, and continue the series of the nights before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from specter_batch.graph_names import Precision
from specter_batch.metrics.confidence_sequence import MAX_LOOKS, Look, rate_bounds
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.report_model.audit import (
    AuditCounts,
    AuditedNight,
    AuditedRate,
    AuditReport,
    AuditSeries,
)
from specter_jobs.output.report_model.report import NightReport


@dataclass(frozen=True, kw_only=True)
class AuditedModel:
    """The model that labels a night, and whether its labels are audited.

    Attributes:
        model: Hash of the bundle, the kind of device and the graph.
        precision: Precision of the graph.
        date: Date of the night.
        is_on: False if the user turned the audit off.
    """

    model: str
    precision: Precision
    date: str
    is_on: bool


def audit_report(
    tonight: AuditedModel, entries: Sequence[LedgerEntry], *, before: NightReport | None, named: bool
) -> AuditReport:
    """Return the audit of a night.

    Args:
        tonight: The model of the night.
        entries: Ledger entries of the finished shards.
        before: Report of the night before, whether or not it succeeded; None if there is none.
        named: Whether `--previous` names an earlier night.
    """
    counts = AuditCounts.total(entry.audit for entry in entries if entry.audit is not None)
    return AuditReport(
        graph=tonight.precision,
        tonight=counts,
        without_audit=sum(entry.labels.rows - entry.reused for entry in entries if entry.audit is None),
        not_audited=None if counts.papers else _why_not(tonight, entries),
        series=_series(tonight, counts, before=before, named=named),
    )


def _why_not(tonight: AuditedModel, entries: Sequence[LedgerEntry]) -> str:
    if tonight.precision == "fp32":
        return "that model labelled all papers itself"
    if not any(entry.labels.rows > entry.reused for entry in entries):
        return "the model labelled no paper"
    if not tonight.is_on:
        return "--audit-share 0 turns the audit off"
    return "no paper was chosen, or the shards were finished by a run without an audit"


def _series(tonight: AuditedModel, counts: AuditCounts, *, before: NightReport | None, named: bool) -> AuditSeries:
    earlier = before.audit.series if before is not None and before.audit is not None else None
    begins = _why_it_begins(tonight, earlier, before=before, named=named)
    nights: tuple[AuditedNight, ...] = ()
    if earlier is not None and begins is None:
        nights, begins = earlier.nights, earlier.begins
    if counts.papers:
        figures = counts.model_dump(include={"papers", "disagreements", "clear_papers", "clear_disagreements"})
        nights = (*nights, AuditedNight(date=tonight.date, **figures))
    return AuditSeries(
        model=tonight.model,
        nights=nights,
        every=_rate(nights, lambda night: (night.papers, night.disagreements)),
        clear=_rate(nights, lambda night: (night.clear_papers, night.clear_disagreements)),
        begins=begins or "",
    )


def _why_it_begins(
    tonight: AuditedModel, earlier: AuditSeries | None, *, before: NightReport | None, named: bool
) -> str | None:
    """Return why the series cannot continue the one of the night before; None if it can."""
    if not named:
        return "--previous names no earlier night"
    if before is None:
        return "there is no earlier night"
    if earlier is None:
        return "the night before has no audit"
    if earlier.model != tonight.model:
        return "another bundle, device or graph labelled the night before"
    if len(earlier.nights) >= MAX_LOOKS:
        return f"a series ends after {MAX_LOOKS} nights"
    return None


def _rate(nights: Sequence[AuditedNight], counts: Callable[[AuditedNight], tuple[int, int]]) -> AuditedRate:
    looks = [Look(items=items, hits=hits) for items, hits in map(counts, nights)]
    bounds = rate_bounds(looks)
    return AuditedRate(
        papers=sum(look.items for look in looks),
        disagreements=sum(look.hits for look in looks),
        low=bounds.low,
        high=bounds.high,
        level=bounds.level,
    )
