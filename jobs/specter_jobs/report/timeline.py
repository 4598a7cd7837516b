"""The picture of a night's speed."""

from collections.abc import Sequence

from markupsafe import Markup

from specter_batch.report.svg import Plot, nice_ticks


def timeline(spans: Sequence[tuple[float, float, float]], *, narrow: bool = False) -> Markup:
    """Draw papers per second over seconds: `(start, end, rate)` one after the other.

    Args:
        spans: The spans in the order of time.
        narrow: Draw for the screen of a phone.
    """
    end = max((span[1] for span in spans), default=1.0) or 1.0
    ticks = nice_ticks(max((rate for _, _, rate in spans), default=1.0) or 1.0)
    unit, name = (3600, "hours") if end > 2 * 3600 else (60, "minutes") if end > 120 else (1, "seconds")
    x_ticks = [(tick * unit, f"{tick:g}") for tick in nice_ticks(end / unit) if tick * unit <= end]
    plot = Plot(width=380 if narrow else 1030, height=240, x_range=(0, end), y_range=(0, ticks[-1]))
    parts = plot.axes(f"{name} of labelling", "papers/s", x_ticks=x_ticks, y_ticks=[(t, f"{t:,g}") for t in ticks])
    steps = [point for start, stop, rate in spans for point in ((start, rate), (stop, rate))]
    if steps:
        parts.append(plot.line([(steps[0][0], 0), *steps, (steps[-1][0], 0)], "area"))
        parts.append(plot.line(steps, "curve"))
    return plot.svg(parts, "Papers per second over time")
