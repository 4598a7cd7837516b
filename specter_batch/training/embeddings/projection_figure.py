"""The picture of a projection: panels of points, a colour and a marker per label, the legend outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specter_batch.display import terminal_text
from specter_batch.metrics.f1 import Ints
from specter_batch.storage.files import written_whole
from specter_batch.training.picture_style import fixed_style

Points = npt.NDArray[np.float64]

FORMATS = (".svg", ".png")

# Okabe & Ito's colours (https://jfly.uni-koeln.de/color/) can be distinguished with all kinds of colour vision. Yellow
# is left out, because it is hard to see on white.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
OTHER_COLOUR = "#bbbbbb"
OTHER = "other labels"
LEGEND_ROWS = 28
LEGEND_CHARACTERS = 40
TITLE_CHARACTERS = 56
# Widths in inches of a panel and of a column of the legend.
PANEL_WIDTH, LEGEND_WIDTH = 5.6, 3.4
# Points are drawn in layers with all labels in each. Drawn label by label, the last label would hide the first.
LAYERS = 12


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One projection of the papers.

    Attributes:
        title: What was projected.
        points: `(n, 2)`.
        axes: The names of the two axes.
        same_label: Share of papers whose nearest neighbour in the embedding space has their label.
    """

    title: str
    points: Points
    axes: tuple[str, str]
    same_label: float


def draw(panels: Sequence[Panel], label_ids: Ints, names: Sequence[str], *, caption: str, out: Path, seed: int) -> None:
    """Write the panels side by side as SVG or PNG, by the name of `out`; the same input gives the same bytes.

    Args:
        panels: Projections of the same papers.
        label_ids: Label ids of the papers, `(n,)`.
        names: Name of each label, by label id.
        caption: Text above the panels.
        out: The picture to write.
        seed: Random seed of the order in which points are drawn over each other.
    """
    drawn, legend_names = _legible(label_ids, names)
    layers = np.array_split(np.random.default_rng(seed).permutation(len(drawn)), LAYERS)
    with fixed_style({"font.size": 9}):
        width = PANEL_WIDTH * len(panels) + LEGEND_WIDTH * _legend_columns(legend_names)
        figure = Figure(figsize=(width, 6.4), layout="constrained")
        figure.suptitle(caption, x=0.01, ha="left", fontsize=9, color="#444444")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw_panel(axes, panel, drawn, layers)
        _draw_legend(figure, legend_names)
        out.parent.mkdir(parents=True, exist_ok=True)
        kind = out.suffix.lower().removeprefix(".")
        with written_whole(out) as partial:
            figure.savefig(partial, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)


def _legible(label_ids: Ints, names: Sequence[str]) -> tuple[Ints, list[str]]:
    """Number the labels that occur, in their order, and name them for the legend with their papers.

    Where there are more than colours times markers, the rarest become one, -1.
    """
    papers = np.bincount(label_ids, minlength=len(names))
    shown = np.argsort(-papers, kind="stable")[: len(COLOURS) * len(MARKERS)]
    shown = np.sort(shown[papers[shown] > 0])
    number = np.full(len(names), -1)
    number[shown] = np.arange(len(shown))
    legend = [f"{_shortened(names[label])} ({papers[label]:,})" for label in shown]
    rest = int(papers.sum() - papers[shown].sum())
    return number[label_ids], legend + ([f"{OTHER} ({rest:,})"] if rest else [])


def _shortened(name: str) -> str:
    name = terminal_text(name)  # no line breaks, and no characters that an SVG cannot hold
    return name if len(name) <= LEGEND_CHARACTERS else f"{name[: LEGEND_CHARACTERS - 1]}…"


def last_of(path: str, *, characters: int = TITLE_CHARACTERS) -> str:
    """Return a path, or the end of a long one."""
    path = terminal_text(path)
    return path if len(path) <= characters else f"…{path[1 - characters :]}"


def _style(label: int) -> tuple[str, str]:
    """Return a label's colour and marker."""
    if label not in range(len(COLOURS) * len(MARKERS)):
        return OTHER_COLOUR, "o"
    return COLOURS[label % len(COLOURS)], MARKERS[label // len(COLOURS)]


def _draw_panel(axes: Axes, panel: Panel, labels: Ints, layers: Sequence[Ints]) -> None:
    for layer in layers:
        for label in np.unique(labels[layer]):
            points = panel.points[layer[labels[layer] == label]]
            colour, marker = _style(int(label))
            axes.scatter(points[:, 0], points[:, 1], s=16, c=colour, marker=marker, alpha=0.7, linewidths=0)
    axes.set_title(f"{panel.title}\nnearest neighbour has the same label: {panel.same_label:.0%}", fontsize=10)
    axes.set_xlabel(panel.axes[0])
    axes.set_ylabel(panel.axes[1])
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend_columns(names: Sequence[str]) -> int:
    return -(-len(names) // LEGEND_ROWS)


def _draw_legend(figure: Figure, names: Sequence[str]) -> None:
    handles = []
    for label in range(len(names)):
        colour, marker = _style(label)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6))
    legend = figure.legend(
        handles,
        [" "] * len(names),
        loc="outside right upper",
        ncols=_legend_columns(names),
        frameon=False,
        title="label (papers)",
        alignment="left",
        fontsize=8,
    )
    # Set afterwards: a legend leaves out names that begin with an underscore.
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)
