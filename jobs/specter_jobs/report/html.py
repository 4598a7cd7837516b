"""The night's report as one page that needs no network, no script and no other file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from jinja2 import Template
from markupsafe import Markup

from specter_batch.metrics.score_report import CAVEAT
from specter_batch.report import charts
from specter_batch.report.heat_map import heat_maps
from specter_batch.report.page import LabelRow, f1_bar, page_environment, top_confusions
from specter_batch.report.paper_groups import PaperGroups
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.report_model.manifest import NightManifest
from specter_jobs.output.report_model.parts import PSI_LARGE, PSI_NOTABLE, SIDE_TITLES, number
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.report.markdown import MAX_IGNORED_SHOWN
from specter_jobs.report.timeline import timeline

N_SLOWEST = 10
# More steps than these cannot be told apart in a picture of 900 pixels.
MAX_SPANS = 300


def night_html(
    report: NightReport, manifest: NightManifest, entries: Sequence[LedgerEntry], papers: PaperGroups
) -> str:
    """Render `report.html`.

    Args:
        report: Report of the night.
        manifest: Manifest of the night.
        entries: Ledger entries of the finished shards, in the plan's order.
        papers: The papers behind the figures.
    """
    scored, spans, labels = report.scored_papers > 0, _spans(entries), _label_rows(report)
    return _template().render(
        report=report,
        manifest=manifest,
        papers=papers,
        caveat=CAVEAT,
        sides=report.drift.sides,
        verdict=_verdict(report),
        labels=labels,
        changed_labels=sorted(labels, key=lambda row: -abs(row.change or 0.0)),
        confusions=top_confusions(report),
        heat_map=heat_maps(report.confusion, report.labels, link=partial(papers.link, "cell")) if scored else None,
        reliability=charts.reliability(report.reliability) if scored else None,
        histogram=_histogram(report),
        timeline=(timeline(spans), timeline(spans, narrow=True)) if spans else None,
        slowest=sorted(entries, key=lambda entry: -entry.seconds)[:N_SLOWEST],
        ignored=list(report.ignored_inputs.items())[:MAX_IGNORED_SHOWN],
        most_rejects=max(report.rejects_by_reason.values(), default=0),
    )


@cache
def _template() -> Template:
    environment = page_environment("specter_jobs.report", filters={"number": number, "points": _points})
    environment.globals |= {"psi_notable": PSI_NOTABLE, "psi_large": PSI_LARGE, "side_titles": SIDE_TITLES}
    return environment.get_template("report.html.j2")


def _points(change: float | None) -> str:
    """Format a difference of two shares in percentage points."""
    return "–" if change is None else f"{100 * change:+.1f}"


def _verdict(report: NightReport) -> dict[str, str]:
    """Return the result of the night as one line."""
    failed, gates = report.shards.failed, [gate.name for gate in report.failed_gates]
    problems = [f"Shards or files that failed: {failed:,} (a rerun does only these)"] if failed else []
    problems += [f"Gates that failed: {', '.join(gates)}"] if gates else []
    if problems:
        return {"kind": "bad", "text": ". ".join(problems)}
    which = "every gate that applies" if report.inapplicable_gates else "every gate"
    kept = f", and {which} has passed" if report.gates else ""
    return {"kind": "good", "text": f"Every row is accounted for{kept}"}


@dataclass(frozen=True, kw_only=True)
class NightLabelRow(LabelRow):
    """A row about one label: its scores, and its share of papers in this night and in the nights and data to compare.

    Attributes:
        papers: Number of papers that were given the label.
        share: Share of all labelled papers that were given the label.
        others: `reference` or `previous` -> the label's share there; None where the label is not known.
        share_bar: The shares as a bar.
    """

    papers: int
    share: float
    others: Mapping[str, float | None]
    share_bar: Markup

    @property
    def change(self) -> float | None:
        """Share tonight minus the share in the previous night; None if there is none, or it did not know the label."""
        previous = self.others.get("previous")
        return None if previous is None else self.share - previous


def _label_rows(report: NightReport) -> list[NightLabelRow]:
    """Return a row for each label, the most frequent first. Bars are drawn relative to the largest share."""
    sides = {name: side.label_shares for name, side in report.drift.sides.items()}
    everything = [*report.label_shares.values(), *(share for side in sides.values() for share in side.values())]
    most = max(everything, default=0.0) or 1.0
    rows = []
    for i, scores in enumerate(report.per_label):
        name = scores.label
        share = report.label_shares[name]
        others = {side: shares.get(name) for side, shares in sides.items()}
        marks = {side: other / most for side, other in others.items() if other is not None}
        rows.append(
            NightLabelRow(
                number=i,
                scores=scores,
                f1_bar=f1_bar(scores),
                papers=report.label_papers[name],
                share=share,
                others=others,
                share_bar=charts.bar(share / most, marks=marks),
            )
        )
    return sorted(rows, key=lambda row: -row.papers)


def _histogram(report: NightReport) -> Markup | None:
    if report.mean_score is None:
        return None
    others = {name: side.score_histogram for name, side in report.drift.sides.items()}
    return charts.histogram(report.score_histogram, others)


def _spans(entries: Sequence[LedgerEntry]) -> list[tuple[float, float, float]]:
    """Return `(start, end, papers per second)` one after the other; neighbours are joined when there are too many."""
    together = -(-len(entries) // MAX_SPANS) or 1
    spans, clock = [], 0.0
    for first in range(0, len(entries), together):
        joined = entries[first : first + together]
        seconds = max(sum(entry.seconds for entry in joined), 1e-3)
        spans.append((clock, clock + seconds, sum(entry.labels.rows for entry in joined) / seconds))
        clock += seconds
    return spans
