"""Drift: the difference of a night's labels and scores from the bundle's validation data and from an earlier night."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from specter_batch.display import markdown_text
from specter_batch.model.bundle_files import BundleReference
from specter_jobs.output.report_model.parts import SIDE_TITLES, Drift, DriftSide, LabelChange
from specter_jobs.output.report_model.report import NightReport, NightTotals

Counts = npt.NDArray[np.float64]

# Half a paper is added to every label before shares are taken: the prior of Jeffreys for shares, the weakest that keeps
# the logarithm finite.
PSI_PRIOR = 0.5
# 95 % of a normal distribution lie below this many standard deviations.
Z_95 = 1.6449
# How many labels a report lists, those that add most to the PSI.
LISTED_CHANGES = 10


def population_stability_index(expected: Counts, observed: Counts) -> float:
    """Return the PSI of two counts of papers by label, both `(n_labels,)`: sum of (p - q) ln(p / q).

    N. Siddiqi, *Credit Risk Scorecards*, 2006; it is the symmetric divergence of Kullback and Leibler 1951. A label
    without papers on one side would make it infinite: `PSI_PRIOR` is added to every count first. Labels without papers
    on both sides are left out.
    """
    return float(psi_parts(expected, observed).sum())


def psi_parts(expected: Counts, observed: Counts) -> Counts:
    """Return the part of each label `(n_labels,)` in the population stability index; no part is negative."""
    occurs = (expected + observed) > 0
    p, q = (np.where(occurs, side + PSI_PRIOR, 0.0) for side in (observed, expected))
    p, q = (np.where(occurs, side / max(side.sum(), 1.0), 1.0) for side in (p, q))
    return np.asarray((p - q) * np.log(p / q))


def psi_by_chance(expected: Counts, observed: Counts) -> float:
    """Return the PSI that 95 % of comparisons stay below if only the sample has changed.

    Without drift PSI / (1/n + 1/m) follows chi-square with one degree of freedom less than there are labels
    (B. Yurdakul and J. Naranjo, *Statistical properties of the population stability index*, Journal of Risk Model
    Validation 14, 2020). Its quantile is taken by the approximation of Wilson and Hilferty 1931.
    """
    freedom = int(((expected + observed) > 0).sum()) - 1
    if freedom < 1:
        return 0.0
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + Z_95 * np.sqrt(spread)) ** 3
    return float(quantile * (1 / expected.sum() + 1 / observed.sum()))


def jensen_shannon_distance(expected: Counts, observed: Counts) -> float:
    """Return the Jensen-Shannon distance of two counts by label: 0 for equal shares, 1 for no label in common.

    The square root of the divergence to base 2 (J. Lin, *Divergence measures based on the Shannon entropy*, 1991),
    which is a metric (Endres and Schindelin 2003). Empty labels need no smoothing: 0 log 0 is 0.
    """
    p, q = observed / observed.sum(), expected / expected.sum()
    middle = (p + q) / 2
    divergence = sum(float((side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum()) / 2 for side in (p, q))
    return float(np.sqrt(max(divergence, 0.0)))  # rounding may leave it a hair below 0


def drift_report(report: NightTotals, *, reference: BundleReference, previous: NightReport | None) -> Drift:
    """Compare a night with its bundle's reference and with an earlier night, if there is one."""
    return Drift(
        reference=_compare(report, reference, papers=reference.papers, rejected=None),
        previous=None
        if previous is None
        else _compare(report, previous, papers=previous.papers, rejected=previous.rows.reject_rate),
    )


def drift_markdown(report: NightReport) -> str:
    """Render the drift as a Markdown table, followed by the earlier night that was used."""
    lines = ["| against | papers | PSI | by chance | JS distance | mean score | reject rate |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for name, side in report.drift.sides.items():
        figures = [side.psi, side.psi_by_chance, side.js_distance]
        changes = [side.mean_score_change, side.reject_rate_change]
        cells = ["–" if value is None else f"{value:.4f}" for value in figures]
        cells += ["–" if value is None else f"{value:+.4f}" for value in changes]
        lines.append(f"| {SIDE_TITLES[name]} | {side.papers:,} | {' | '.join(cells)} |")
    lines += ["", f"{markdown_text(str(report.previous))}."] if report.previous else []
    for sentence in report.drift.sentences():
        lines += ["", f"{markdown_text(sentence)}."]
    for name, side in report.drift.sides.items():
        lines += _changes_markdown(side, SIDE_TITLES[name]) if side.label_changes else []
    return "\n".join(lines) + "\n"


def _changes_markdown(side: DriftSide, title: str) -> list[str]:
    return [
        "",
        f"Labels that add most to the PSI against the {title}:",
        "",
        "| label | before | tonight | change in points | part of the PSI |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {markdown_text(change.label)} | {change.before:.2%} | {change.now:.2%} "
            f"| {100 * (change.now - change.before):+.2f} | {change.psi:.4f} |"
            for change in side.label_changes
        ),
    ]


def _compare(
    report: NightTotals, base: BundleReference | NightReport, *, papers: int, rejected: float | None
) -> DriftSide:
    """Compare label shares over the labels of both sides. A label of only one side has no papers on the other."""
    names = list(dict.fromkeys([*report.label_papers, *base.label_shares]))
    observed = np.array([report.label_papers.get(name, 0) for name in names], dtype=np.float64)
    shares = np.array([base.label_shares.get(name, 0.0) for name in names], dtype=np.float64)
    expected = np.round(shares * papers)  # back to counts
    both = observed.sum() > 0 and expected.sum() > 0
    return DriftSide(
        papers=papers,
        psi=population_stability_index(expected, observed) if both else None,
        psi_by_chance=psi_by_chance(expected, observed) if both else None,
        js_distance=jensen_shannon_distance(expected, observed) if both else None,
        mean_score=base.mean_score,
        mean_score_change=_change(report.mean_score, base.mean_score),
        reject_rate=rejected,
        reject_rate_change=_change(report.rows.reject_rate, rejected),
        label_shares=base.label_shares,
        score_histogram=tuple(base.score_histogram),
        label_changes=_largest_changes(names, expected, observed) if both else (),
    )


def _largest_changes(names: Sequence[str], expected: Counts, observed: Counts) -> tuple[LabelChange, ...]:
    """Return the labels whose parts of the PSI are the largest, the largest first; equal shares are no change."""
    parts, before, now = psi_parts(expected, observed), expected / expected.sum(), observed / observed.sum()
    largest = np.argsort(-parts, kind="stable")[:LISTED_CHANGES]
    return tuple(
        LabelChange(label=names[i], before=float(before[i]), now=float(now[i]), psi=float(parts[i]))
        for i in largest
        if now[i] != before[i]
    )


def _change(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before
