"""The parts of the pages' pictures: text, axes and the frame of an inline SVG.

All text from data passes through `Markup.format`, which escapes it.
"""

import math
from collections.abc import Sequence

from markupsafe import Markup

# Width of a letter in pixels at the page's font size of 12 px. Most letters are narrower, so names fit.
LETTER = 7.2
MAX_NAME = 34


def nice_ticks(highest: float) -> list[float]:
    """Return 0 and up to six round numbers above it; the last one is at least `highest`."""
    rough = highest / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    return [float(f"{i * step:.12g}") for i in range(math.ceil(highest / step - 1e-9) + 1)]


def shortened(name: str) -> str:
    """Cut a name that is too long for the picture. The full name is in its tooltip."""
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1].rstrip() + "…"


class Plot:
    """A rectangle with axes that converts data coordinates to pixels. `top` is the space above it in pixels."""

    LEFT, RIGHT, BOTTOM = 62, 14, 44

    def __init__(
        self, *, width: int, height: int, x_range: tuple[float, float], y_range: tuple[float, float], top: int = 12
    ) -> None:
        self._width, self._height, self._top = width, height, top
        self._x, self._y = x_range, y_range

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel coordinates of a point."""
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        wide, high = self._width - self.LEFT - self.RIGHT, self._height - self._top - self.BOTTOM
        return self.LEFT + across * wide, self._top + (1 - up) * high

    def axes(
        self, x_name: str, y_name: str, *, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]
    ) -> list[Markup]:
        """Draw the grid lines, the ticks (value, name) and the names of the axes."""
        parts = []
        for value, name in y_ticks:
            parts.append(self.line([(self._x[0], value), (self._x[1], value)], "grid"))
            parts.append(text(self.LEFT - 8, self.at(0, value)[1] + 4, name, anchor="end"))
        floor = self._height - self.BOTTOM
        parts += [text(self.at(value, 0)[0], floor + 18, name, anchor="middle") for value, name in x_ticks]
        middle = (self.LEFT + self._width - self.RIGHT) / 2
        parts.append(text(middle, self._height - 6, x_name, anchor="middle", kind="axis"))
        turned = Markup(' transform="rotate(-90 14 {})"').format((self._top + floor) / 2)
        parts.append(text(14, (self._top + floor) / 2, y_name, anchor="middle", kind="axis", more=turned))
        return parts

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> Markup:
        """Draw a line through points."""
        coordinates = " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in points)
        return Markup('<polyline class="{}" points="{}"/>').format(kind, coordinates)

    def dot(self, x: float, y: float, *, kind: str, radius: float, title: str) -> Markup:
        """Draw a point with a tooltip."""
        across, down = self.at(x, y)
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>').format(
            kind, across, down, radius, title
        )

    def svg(self, parts: Sequence[Markup], about: str) -> Markup:
        """Return the drawn parts as a complete picture."""
        return picture(self._width, self._height, parts, about)


def text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    kind: str = "",
    title: str | None = None,
    more: Markup = Markup(""),  # noqa: B008 - a Markup cannot be changed
) -> Markup:
    """Draw text at a point; `title` is a tooltip, for example with the full text."""
    about = Markup("<title>{}</title>").format(title) if title is not None and title != text else Markup("")
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}"{}>{}{}</text>').format(
        x, y, anchor, kind, more, about, text
    )


def linked(part: Markup, target: str | None) -> Markup:
    """Make a part of a picture a link to the part of the page with this id; the part itself if there is no target."""
    return part if target is None else Markup('<a href="#{}">{}</a>').format(target, part)


def picture(width: float, height: float, parts: Sequence[Markup], about: str) -> Markup:
    """Combine parts into one picture that scales with the page."""
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {:.0f} {:.0f}" style="max-width:{:.0f}px">{}</svg>'
    ).format(about, width, height, width, Markup("").join(parts))
