"""The curves of a training run: loss, learning rate and validation scores over its steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from specter_batch.report.svg import LETTER, Plot, nice_ticks, text, ticks_around

WIDTH, HEIGHT = 1030, 260
# More points than these cannot be told apart in a picture of a thousand pixels: neighbours are drawn as their mean.
MAX_POINTS = 400
# More upright lines than these would be a grid, not marks.
MAX_EPOCHS = 40

Points = list[tuple[float, float]]
Log = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a picture.

    Attributes:
        name: For the legend; none when empty.
        kind: Its class in the style.
        points: It goes through these.
        titles: What each point says of itself; none, and the points are not marked.
    """

    name: str
    kind: str
    points: Points
    titles: Sequence[str] = ()


def training_curves(log: Log) -> dict[str, Markup]:
    """Draw what the log has: pictures by what they show, in the order of the page.

    Args:
        log: Entries as of transformers' `trainer.state.log_history`; what an entry lacks, and what is not a finite
            number, is passed over.
    """
    last = max((entry["step"] for entry in log if "step" in entry), default=0)
    if not last:
        return {}
    ends = [entry["step"] for entry in log if "eval_loss" in entry or "eval_macro_f1" in entry]
    loss, rate = _points(log, "loss"), _points(log, "learning_rate")
    val_loss, f1, accuracy = (_points(log, f"eval_{name}") for name in ("loss", "macro_f1", "accuracy"))
    pictures = {}
    if loss or val_loss:
        curves = [
            Curve(name="training", kind="now", points=_thinned(loss)),
            Curve(name="validation", kind="other", points=val_loss, titles=_titles(log, val_loss, "loss")),
        ]
        top = max(value for _, value in loss + val_loss)
        pictures["Loss"] = _picture(curves, "loss", ticks=nice_ticks(top or 1.0), last=last, ends=ends)
    if rate:
        curve = Curve(name="", kind="now", points=_thinned(rate))
        ticks = nice_ticks(max(value for _, value in rate) or 1e-6)
        pictures["Learning rate"] = _picture([curve], "learning rate", ticks=ticks, last=last, ends=ends)
    if f1:
        curves = [
            Curve(name="accuracy", kind="other", points=accuracy, titles=_titles(log, accuracy, "accuracy")),
            Curve(name="macro F1", kind="now", points=f1, titles=_titles(log, f1, "macro F1")),
        ]
        values = [value for _, value in f1 + accuracy]
        best = max(f1, key=lambda point: point[1])
        ticks = ticks_around(min(values), max(values))
        pictures["Validation scores"] = _picture(curves, "score", ticks=ticks, last=last, ends=ends, kept=best)
    return pictures


def _picture(
    curves: Sequence[Curve],
    y_name: str,
    *,
    ticks: Sequence[float],
    last: float,
    ends: Sequence[float],
    kept: tuple[float, float] | None = None,
) -> Markup:
    drawn = [curve for curve in curves if curve.points]
    plot = Plot(width=WIDTH, height=HEIGHT, x_range=(0, last), y_range=(ticks[0], ticks[-1]), top=30)
    x_ticks = [(tick, f"{tick:,g}") for tick in nice_ticks(last) if tick <= last]
    epochs = ends if len(ends) <= MAX_EPOCHS else []
    x_name = "steps; an upright line ends an epoch" if epochs else "steps"
    parts = plot.axes(x_name, y_name, x_ticks=x_ticks, y_ticks=[(tick, f"{tick:g}") for tick in ticks])
    parts += [plot.line([(end, ticks[0]), (end, ticks[-1])], "end") for end in epochs]
    for curve in drawn:
        parts.append(plot.line(curve.points, f"curve {curve.kind}"))
        for (x, y), title in zip(curve.points, curve.titles, strict=False):
            parts.append(plot.dot(x, y, kind=curve.kind, radius=3.5, title=title))
    legend = [(curve.name, curve.kind) for curve in drawn if curve.name]
    if kept is not None:
        parts.append(plot.dot(*kept, kind="kept", radius=7, title="the epoch that was kept"))
        legend.append(("kept", "kept"))
    return plot.svg([*parts, *_legend(legend)], y_name)


def _legend(names: Sequence[tuple[str, str]]) -> list[Markup]:
    """Name the curves above the picture, from the right."""
    parts, x = [], WIDTH - Plot.RIGHT
    for name, kind in reversed(names):
        x -= round(len(name) * LETTER)
        parts.append(text(x, 16, name))
        parts.append(Markup('<circle class="{}" cx="{}" cy="12" r="4.5"/>').format(kind, x - 10))
        x -= 32
    return parts


def _points(log: Log, name: str) -> Points:
    return [
        (float(entry["step"]), float(entry[name]))
        for entry in log
        if "step" in entry and isinstance(entry.get(name), int | float) and math.isfinite(entry[name])
    ]


def _titles(log: Log, points: Points, what: str) -> list[str]:
    epochs = {entry["step"]: entry["epoch"] for entry in log if "step" in entry and "epoch" in entry}
    return [f"epoch {epochs.get(step, 0):g}, step {step:,.0f}: {what} {value:.4f}" for step, value in points]


def _thinned(points: Points) -> Points:
    together = -(-len(points) // MAX_POINTS) or 1
    groups = [points[first : first + together] for first in range(0, len(points), together)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
