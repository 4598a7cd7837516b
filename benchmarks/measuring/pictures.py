"""Pictures of benchmarks: bars and curves in one SVG file, readable on light and dark backgrounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from specter_batch.report.page import page_environment
from specter_batch.report.svg import LETTER, Plot, nice_ticks, picture, text

WIDTH, CURVES_HEIGHT = 900, 260
ROW, BAR, FIGURE_WIDTH = 24, 14, 130
# Space between panels, enough for the title of the next one.
GAP = 50

_FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width + 30 }} {{ height }}" role="img" \
aria-label="{{ about }}">
<style>
{% include "palette.css" %}
{% include "charts.css" %}
svg text.title { fill: var(--ink); font: 600 16px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
svg text.figure { fill: var(--ink); }
.card { fill: var(--card); } rect.ours { fill: var(--now); } rect.peer { fill: var(--soft); fill-opacity: .55; }
polyline.whisker { stroke: var(--ink); stroke-opacity: .7; }
</style>
<rect class="card" width="100%" height="100%"/>
{% for panel in panels %}
<text class="title" x="15" y="{{ panel.top - 10 }}">{{ panel.title }}</text>
<svg x="15" y="{{ panel.top }}" width="{{ width }}" height="{{ panel.height }}">{{ panel.drawn }}</svg>
{% endfor %}
</svg>
"""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A picture in the file, `height` pixels high, under its title."""

    title: str
    drawn: Markup
    height: int


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar with median, lowest and highest value, and the text after it. Our own bars have another colour."""

    name: str
    median: float
    low: float
    high: float
    figure: str
    ours: bool


Points = Sequence[tuple[float, float]]


def svg_file(panels: Sequence[Panel], *, about: str) -> str:
    """Stack panels into one SVG file that fetches nothing."""
    placed, top = [], 0
    for panel in panels:
        top += GAP
        placed.append({"title": panel.title, "drawn": panel.drawn, "height": panel.height, "top": top})
        top += panel.height
    frame = page_environment().from_string(_FRAME)
    return frame.render(panels=placed, width=WIDTH, height=top + 15, about=about)


def bars(title: str, rows: Sequence[Bar]) -> Panel:
    """Draw one bar per row, with a line from the lowest to the highest value."""
    left = LETTER * max(len(row.name) for row in rows) + 16
    wide = WIDTH - left - FIGURE_WIDTH
    scale = wide / (max(row.high for row in rows) or 1.0)
    parts: list[Markup] = []
    for i, row in enumerate(rows):
        middle = (i + 0.5) * ROW
        parts.append(text(left - 8, middle + 4, row.name, anchor="end"))
        parts.append(
            Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" rx="2"/>').format(
                "ours" if row.ours else "peer", left, middle - BAR / 2, row.median * scale, BAR
            )
        )
        if row.high > row.low:
            told = Markup('<polyline class="whisker" points="{0:.1f},{2:.1f} {1:.1f},{2:.1f}"/>')
            parts.append(told.format(left + row.low * scale, left + row.high * scale, middle))
        parts.append(text(left + row.high * scale + 8, middle + 4, row.figure, kind="figure"))
    height = ROW * len(rows)
    return Panel(title=title, drawn=picture(WIDTH, height, parts, title), height=height)


def curve(title: str, points: Points, *, x_name: str, y_name: str, x_ticks: Mapping[float, str]) -> Panel:
    """Draw points and the line through them; both axes begin at 0."""
    y_ticks = nice_ticks(max(y for _, y in points) or 1.0)
    plot = Plot(width=WIDTH, height=CURVES_HEIGHT, x_range=(0, max(x_ticks) or 1.0), y_range=(0, y_ticks[-1]), top=12)
    parts = plot.axes(x_name, y_name, x_ticks=list(x_ticks.items()), y_ticks=[(y, f"{y:g}") for y in y_ticks])
    parts.append(plot.line(points, "curve now"))
    for x, y in points:
        parts.append(plot.dot(x, y, kind="now", radius=3.5, title=f"{x:g} {x_name}: {y:.4g} {y_name}"))
    return Panel(title=title, drawn=plot.svg(parts, title), height=CURVES_HEIGHT)
