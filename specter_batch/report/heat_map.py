"""The picture of a confusion matrix as inline SVG, once for wide screens and once for the screen of a phone.

All text from data passes through `Markup.format`, which escapes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from specter_batch.report.svg import LETTER, linked, picture, shortened, text

# With more labels than this, names next to the rows would be too small to read. The table of confusions has the names.
MAX_NAMED_LABELS = 40
MAX_COUNTED_LABELS = 20
# In a matrix without names, only cells with at least this share of their row get a tooltip, so that the page is small.
TITLED_SHARE = 0.05
# The width in pixels that a phone offers, and the smallest cell that has room for a count.
NARROW_WIDTH, COUNTED_CELL = 318, 24

# True label and predicted label, both as positions -> name of the part of the page to link to, or None.
CellLink = Callable[[int, int], str | None]


@dataclass(frozen=True, kw_only=True)
class HeatMaps:
    """The pictures of a confusion matrix.

    Attributes:
        wide: The picture for wide screens.
        narrow: The picture for the screen of a phone, with numbers in place of names; None if `wide` has no names.
        labels: Names of the labels, for the list of the numbers.
    """

    wide: Markup
    narrow: Markup | None
    labels: tuple[str, ...]


def heat_maps(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], *, link: CellLink = lambda _true, _predicted: None
) -> HeatMaps:
    """Draw a confusion matrix for wide screens and for the screen of a phone.

    Args:
        confusion: Number of papers by true label (rows) and predicted label (columns).
        labels: Names of the labels.
        link: Returns the part of the page that a cell links to.
    """
    narrow = _numbered(confusion, labels, link) if len(labels) <= MAX_NAMED_LABELS else None
    return HeatMaps(wide=heat_map(confusion, labels, link=link), narrow=narrow, labels=tuple(labels))


def heat_map(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], *, link: CellLink = lambda _true, _predicted: None
) -> Markup:
    """Draw a confusion matrix. Rows are true labels; the darker a cell, the larger its share of the row."""
    n = len(labels)
    named = n <= MAX_NAMED_LABELS
    cell = 40 if n <= 12 else 32 if n <= MAX_COUNTED_LABELS else 18 if named else max(4, 760 // n)
    names = [shortened(name) for name in labels] if named else []
    longest = max((len(name) for name in names), default=0) * LETTER
    # Column names are turned by 45°, so their height and their width are equal.
    left, top, right = (longest + 10, longest * 0.71 + 14, longest * 0.71) if named else (24.0, 20.0, 4.0)
    grid = _Grid(labels=labels, cell=cell, left=left, top=top, counted=n <= MAX_COUNTED_LABELS, link=link)
    parts = grid.cells(confusion)
    for i, name in enumerate(names):
        middle = (i + 0.5) * cell
        parts.append(text(left - 6, top + middle + 4, name, anchor="end", title=labels[i]))
        x, y = left + middle + 3, top - 6
        turned = Markup(' transform="rotate(-45 {:.1f} {:.1f})"').format(x, y)
        parts.append(text(x, y, name, title=labels[i], more=turned))
    if not named:
        parts.append(text(left, 12, "predicted →"))
        turned = Markup(' transform="rotate(90 8 {:.1f})"').format(top)
        parts.append(text(8, top, "true →", more=turned))
    width, height = left + n * cell + max(right, 4), top + n * cell + 4
    return picture(width, height, parts, "Confusion matrix")


def _numbered(confusion: Sequence[Sequence[int]], labels: Sequence[str], link: CellLink) -> Markup:
    """Draw the matrix with the numbers of the labels, from 1, in place of their names."""
    n, left, top = len(labels), 22.0, 20.0
    cell = min((NARROW_WIDTH - int(left) - 4) // n, 40)
    grid = _Grid(labels=labels, cell=cell, left=left, top=top, counted=cell >= COUNTED_CELL, link=link)
    parts = grid.cells(confusion)
    for i, name in enumerate(labels):
        middle = (i + 0.5) * cell
        parts.append(text(left - 5, top + middle + 4, f"{i + 1}", anchor="end", title=name))
        if cell >= 2 * LETTER or i % 2 == 0:  # numbers of narrow columns would touch
            parts.append(text(left + middle, top - 5, f"{i + 1}", anchor="middle", title=name))
    return picture(left + n * cell + 4, top + n * cell + 4, parts, "Confusion matrix")


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Where the cells of a matrix are, in pixels, and what they show."""

    labels: Sequence[str]
    cell: int
    left: float
    top: float
    counted: bool
    link: CellLink

    def cells(self, confusion: Sequence[Sequence[int]]) -> list[Markup]:
        """Return the frame and a square for each pair of labels that occurs."""
        side = len(self.labels) * self.cell
        frame = Markup('<rect class="frame" x="{:.1f}" y="{:.1f}" width="{}" height="{}"/>')
        parts = [frame.format(self.left, self.top, side, side)]
        plain: dict[tuple[str, str], list[str]] = {}
        for i, row in enumerate(confusion):
            papers = sum(row)
            for j, count in enumerate(row):
                if not count:
                    continue
                target = self.link(i, j)
                if target is None and not self._is_titled(count / papers):
                    x, y = self.left + j * self.cell, self.top + i * self.cell
                    kind = ("hit" if i == j else "miss", f"{_strength(count / papers):.1f}")
                    plain.setdefault(kind, []).append(f"M{x:.0f} {y:.0f}h{self.cell}v{self.cell}h-{self.cell}z")
                else:
                    parts.append(linked(self._square(i, j, count, papers), target))
        # One path for all cells of a colour: a rectangle for each of 10,000 cells would make the page large.
        path = Markup('<path class="{}" fill-opacity="{}" d="{}"/>')
        return [*parts, *(path.format(kind, strength, "".join(cells)) for (kind, strength), cells in plain.items())]

    def _is_titled(self, share: float) -> bool:
        return len(self.labels) <= MAX_NAMED_LABELS or share >= TITLED_SHARE

    def _square(self, i: int, j: int, count: int, papers: int) -> Markup:
        labels, share = self.labels, count / papers
        strength = _strength(share)
        x, y, gap = self.left + j * self.cell, self.top + i * self.cell, 1 if self.cell > 8 else 0
        about = Markup("")
        if self._is_titled(share):
            about = Markup("<title>{} → {}: {:,} of {:,} ({:.0%})</title>").format(
                labels[i], labels[j], count, papers, share
            )
        square = Markup(
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{}" height="{}" fill-opacity="{:.2f}">{}</rect>'
        ).format("hit" if i == j else "miss", x, y, self.cell - gap, self.cell - gap, strength, about)
        if not self.counted:
            return square
        shown = f"{count}" if count < (1_000 if self.cell < 32 else 10_000) else f"{count / 1000:.0f}k"
        kind = "count strong" if strength > 0.55 else "count"
        return square + text(x + (self.cell - gap) / 2, y + self.cell / 2 + 4, shown, anchor="middle", kind=kind)


def _strength(share: float) -> float:
    """Return the opacity of a cell from its share of the row, so that a share of a few percent is visible."""
    return float(0.08 + 0.92 * share**0.7)
