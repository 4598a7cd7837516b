"""The pictures of the pages as inline SVG. They need no script and no other file, and use the colours of the page.

All text from data passes through `Markup.format`, which escapes it.
"""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from specter_batch.metrics.f1 import wilson
from specter_batch.metrics.score_report import ReliabilityBin
from specter_batch.metrics.selective import CurvePoint
from specter_batch.report.svg import Plot, nice_ticks


def bar(share: float, *, marks: Mapping[str, float] | None = None, kind: str = "now") -> Markup:
    """Draw a bar in a table cell. `share` is its length, 0 to 1; `marks` (CSS class -> share) are drawn as lines."""
    lines = Markup("").join(
        Markup('<line class="mark {}" x1="{:.2f}%" x2="{:.2f}%" y1="0" y2="16"/>').format(name, 100 * at, 100 * at)
        for name, at in (marks or {}).items()
    )
    return Markup(
        '<svg class="bar" height="16" aria-hidden="true"><rect class="track" width="100%" height="10" y="3" rx="2"/>'
        '<rect class="{}" width="{:.2f}%" height="10" y="3" rx="2"/>{}</svg>'
    ).format(kind, 100 * min(max(share, 0.0), 1.0), lines)


def reliability(bins: Sequence[ReliabilityBin]) -> Markup:
    """Draw accuracy over mean score by bin, with 95 % intervals of Wilson 1927; the diagonal is perfect calibration."""
    plot = Plot(width=420, height=340, x_range=(0, 1), y_range=(0, 1))
    parts = plot.axes("mean score", "accuracy", x_ticks=_FIFTHS, y_ticks=_FIFTHS)
    parts.append(plot.line([(0, 0), (1, 1)], "diagonal"))
    filled = [(one.mean_score, one.accuracy, one.papers) for one in bins if one.papers and one.accuracy is not None]
    points = [(mean or 0.0, accuracy, papers) for mean, accuracy, papers in filled]
    most = max((papers for _, _, papers in points), default=1)
    for mean, accuracy, papers in points:
        low, high = wilson(accuracy, papers)
        parts.append(plot.line([(mean, low), (mean, high)], "whisker"))
    parts.append(plot.line([(mean, accuracy) for mean, accuracy, _ in points], "curve"))
    for mean, accuracy, papers in points:
        radius = 2.5 + 4.5 * math.sqrt(papers / most)
        about = f"{papers:,} papers: mean score {mean:.3f}, accuracy {accuracy:.3f}"
        parts.append(plot.dot(mean, accuracy, kind="now", radius=radius, title=about))
    return plot.svg(parts, "Reliability diagram")


def histogram(shares: Sequence[float], others: Mapping[str, Sequence[float]]) -> Markup:
    """Draw shares by score bin as bars, and other histograms (CSS class -> shares) as steps over them."""
    n = len(shares)
    highest = max([*shares, *(share for other in others.values() for share in other), 0.0]) or 1.0
    ticks = nice_ticks(highest)
    plot = Plot(width=420, height=340, x_range=(0, 1), y_range=(0, ticks[-1]))
    digits = 0 if ticks[1] >= 0.01 else 1
    parts = plot.axes(
        "score", "share of papers", x_ticks=_FIFTHS, y_ticks=[(tick, f"{tick:.{digits}%}") for tick in ticks]
    )
    for i, share in enumerate(shares):
        (x, y), (end, floor) = plot.at(i / n, share), plot.at((i + 1) / n, 0)
        about = f"score {i / n:.2f} to {(i + 1) / n:.2f}: {share:.1%}"
        parts.append(
            Markup(
                '<rect class="now" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
            ).format(x + 1, y, end - x - 2, floor - y, about)
        )
    for kind, other in others.items():
        steps = [point for i, share in enumerate(other) for point in ((i / n, share), ((i + 1) / n, share))]
        parts.append(plot.line(steps, f"step {kind}"))
    return plot.svg(parts, "Score histogram")


def risk_coverage(points: Sequence[CurvePoint], *, chosen: float | None) -> Markup:
    """Draw the share of wrong labels over the share of papers kept, starting with the highest scores.

    Args:
        points: Points of the curve; the last one includes all papers.
        chosen: Coverage at the threshold for the wanted precision, drawn as a vertical line; no line when None.
    """
    error_rate = points[-1].risk
    ticks = nice_ticks(max([point.risk for point in points]) or 0.01)
    plot = Plot(width=420, height=340, x_range=(0, 1), y_range=(0, ticks[-1]))
    digits = 0 if ticks[1] >= 0.01 else 1
    y_ticks = [(tick, f"{tick:.{digits}%}") for tick in ticks]
    parts = plot.axes("coverage: share of papers kept", "risk: share of them wrong", x_ticks=_FIFTHS, y_ticks=y_ticks)
    parts.append(plot.line([(0, error_rate), (1, error_rate)], "diagonal"))
    if chosen:
        parts.append(plot.line([(chosen, 0), (chosen, ticks[-1])], "chosen"))
    line = [(point.coverage, point.risk) for point in points]
    parts.append(plot.line([(line[0][0], 0), *line, (1, 0)], "area"))
    parts.append(plot.line(line, "curve"))
    for point in points:
        about = f"score at least {point.threshold:.4f}: {point.coverage:.0%} kept, {point.risk:.2%} wrong"
        parts.append(plot.dot(point.coverage, point.risk, kind="tip", radius=4, title=about))
    return plot.svg(parts, "Risk-coverage curve")


_FIFTHS = [(i / 5, f"{i / 5:.1f}") for i in range(6)]
