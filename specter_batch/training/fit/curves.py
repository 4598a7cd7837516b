"""The picture of a training run: loss, learning rate and validation scores over its steps."""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from specter_batch.training.fit.epoch_choice import EPOCH_RANK
from specter_batch.training.picture_style import fixed_style

# Sizes in inches of 72 points. The picture is as wide as the column of the page, or as the screen of a phone.
WIDTH, PANEL_HEIGHT = 14.3, 3.6
NARROW_WIDTH, NARROW_PANEL_HEIGHT = 4.9, 2.9
# A picture of a thousand pixels cannot show more points. With more values, each point is the mean of several.
MAX_POINTS = 400
# More dashed lines than these would hide the curves.
MAX_EPOCHS = 40
# The pictures are drawn in the page's light colours. In the file they are replaced by the names of the page's colours,
# which are different in dark mode.
COLOURS = {
    "card": "#ffffff",
    "ink": "#1b2230",
    "soft": "#5b6474",
    "line": "#e2e6ec",
    "now": "#2f6fde",
    "previous": "#d97706",
    "good": "#15803d",
}
STYLE = {
    "svg.fonttype": "none",
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.12,
    "font.size": 12,
    "axes.facecolor": "none",
    "axes.edgecolor": COLOURS["line"],
    "axes.spines.top": False,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": COLOURS["line"],
    "axes.labelcolor": COLOURS["soft"],
    "axes.titlecolor": COLOURS["ink"],
    "axes.titlelocation": "left",
    "axes.titlesize": 14,
    "axes.titleweight": "bold",
    "xtick.color": COLOURS["soft"],
    "ytick.color": COLOURS["soft"],
    "xtick.major.size": 0,
    "xtick.major.pad": 7,
    "ytick.major.size": 0,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "legend.labelcolor": COLOURS["soft"],
}

Points = list[tuple[float, float]]
Log = Sequence[Mapping[str, Any]]


def training_curves(log: Log, *, narrow: bool = False) -> Markup | None:
    """Draw the log of a training run as one SVG; the same log gives the same bytes.

    Args:
        log: The entries of transformers' `trainer.state.log_history`. Missing and infinite values are left out.
        narrow: Draw for the screen of a phone.

    Returns:
        One panel per kind of value in the log, or None if there is nothing to draw.
    """
    last = max((entry["step"] for entry in log if "step" in entry), default=0)
    panels = _panels(log) if last else []
    if not panels:
        return None
    width, height = (NARROW_WIDTH, NARROW_PANEL_HEIGHT) if narrow else (WIDTH, PANEL_HEIGHT)
    with fixed_style(STYLE):
        figure = Figure(figsize=(width, height * len(panels)), layout="constrained", facecolor=COLOURS["card"])
        for axes, draw in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
            _frame(axes, _ends_of_epochs(log), last=last)
            draw(axes)
            _legend(axes, inside=narrow)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _inline(file.getvalue())


def _panels(log: Log) -> list[Callable[[Axes], None]]:
    """Return a function for each panel that the log has values for; it draws the panel's curves.

    The title of a panel names its vertical axis. A name next to the ticks would need room, and fonts in browsers differ
    in width from the font that matplotlib measures.
    """
    loss, rate = _points(log, "loss"), _points(log, "learning_rate")
    val_loss, f1, accuracy = (_points(log, f"eval_{name}") for name in ("loss", "macro_f1", "accuracy"))

    def draw_loss(axes: Axes) -> None:
        axes.set_title("Loss")
        _curve(axes, _thinned(loss), "training", COLOURS["now"])
        _curve(axes, val_loss, "validation", COLOURS["previous"], marker="o")
        axes.set_ylim(bottom=0)

    def draw_rate(axes: Axes) -> None:
        axes.set_title("Learning rate")
        _curve(axes, _thinned(rate), "learning rate", COLOURS["now"])
        axes.set_ylim(bottom=0)

    def draw_scores(axes: Axes) -> None:
        axes.set_title("Validation scores")
        _curve(axes, accuracy, "accuracy", COLOURS["previous"], marker="o")
        _curve(axes, f1, "macro F1", COLOURS["now"], marker="o")
        step, reached = _kept_epoch(log, f1)
        kept = f"kept epoch, macro F1 {reached:.4f}"
        axes.plot(step, reached, "o", label=kept, color="none", markeredgecolor=COLOURS["good"], markersize=13, mew=2.5)

    drawn = ((loss + val_loss, draw_loss), (rate, draw_rate), (f1, draw_scores))
    return [draw for points, draw in drawn if points]


def _kept_epoch(log: Log, f1: Points) -> tuple[float, float]:
    """Return step and macro F1 of the epoch that is kept. Former versions kept that with the best macro F1."""
    ranks = _points(log, f"eval_{EPOCH_RANK}")
    if not ranks:
        return max(f1, key=lambda point: point[1])
    kept, _ = max(ranks, key=lambda point: point[1])
    return next(point for point in f1 if point[0] == kept)


def _frame(axes: Axes, ends: Sequence[float], *, last: float) -> None:
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("steps (dashed lines: end of an epoch)" if ends else "steps")
    height = axes.get_xaxis_transform()  # from 0, the bottom of the panel, to 1, its top
    axes.vlines(ends, 0, 1, COLOURS["soft"], (0, (3, 4)), alpha=0.6, linewidth=1, transform=height)


def _curve(axes: Axes, points: Points, name: str, colour: str, *, marker: str = "") -> None:
    if points:
        axes.plot(*zip(*points, strict=True), label=name, color=colour, marker=marker, gid=name, clip_on=False)


def _legend(axes: Axes, *, inside: bool) -> None:
    """Draw the legend to the right of the title, or inside the panel if there is no room next to the title."""
    if len(axes.get_lines()) > 1:
        if inside:
            axes.legend(loc="best")
        else:
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3)


def _inline(svg: str) -> Markup:
    """Return an SVG from matplotlib as an element of a page, with the page's colours and font."""
    begin = '<svg class="chart" role="img" aria-label="Training curves" stroke-linejoin="round" '
    svg = svg[svg.index("<svg") :].replace("<svg ", begin, 1)
    # This style is removed, because it would apply to the whole page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*", "font-family: system-ui, sans-serif", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg)  # noqa: S704 - it only holds numbers and our own words


def _ends_of_epochs(log: Log) -> list[float]:
    ends = [float(entry["step"]) for entry in log if "eval_loss" in entry or "eval_macro_f1" in entry]
    return ends if len(ends) <= MAX_EPOCHS else []


def _points(log: Log, name: str) -> Points:
    return [
        (float(entry["step"]), float(entry[name]))
        for entry in log
        if "step" in entry and isinstance(entry.get(name), int | float) and math.isfinite(entry[name])
    ]


def _thinned(points: Points) -> Points:
    together = -(-len(points) // MAX_POINTS) or 1
    groups = [points[first : first + together] for first in range(0, len(points), together)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
