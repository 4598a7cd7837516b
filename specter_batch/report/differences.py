"""The picture of differences between two models: a point with its interval for each label, around a line at 0."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from specter_batch.report.svg import LETTER, picture, shortened, text

WIDTH, ROW, TOP, BOTTOM, RIGHT = 720, 22, 8, 44, 30
# The fewest ticks on either side of 0.
_TICKS = 2


def differences(rows: Sequence[tuple[str, float, float, float]]) -> Markup:
    """Draw differences as points with their intervals.

    Args:
        rows: Name, difference, and the low and high end of its interval, from top to bottom.
    """
    reach = max((max(abs(low), abs(high), abs(middle)) for _, middle, low, high in rows), default=0.0) or 0.01
    step = _round_step(reach / _TICKS)
    ticks = math.ceil(reach / step - 1e-9)
    names = [shortened(name) for name, *_ in rows]
    left = 16 + LETTER * max((len(name) for name in names), default=0)
    height = TOP + ROW * len(rows) + BOTTOM
    floor = TOP + ROW * len(rows)

    def across(value: float) -> float:
        return left + (value / (step * ticks) + 1) / 2 * (WIDTH - left - RIGHT)

    parts = []
    for tick in range(-ticks, ticks + 1):
        x = across(tick * step)
        parts.append(_line(x, TOP, x, floor, "grid" if tick else "diagonal"))
        parts.append(text(x, floor + 18, f"{tick * step:+.3g}" if tick else "0", anchor="middle"))
    for number, ((name, middle, low, high), short) in enumerate(zip(rows, names, strict=True)):
        y = TOP + ROW * (number + 0.5)
        parts.append(text(left - 8, y + 4, short, anchor="end", title=name))
        parts.append(_line(across(low), y, across(high), y, "whisker"))
        parts.append(
            Markup('<circle class="now" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>').format(
                across(middle), y, f"{name}: {middle:+.4f} ({low:+.4f} to {high:+.4f})"
            )
        )
    parts.append(text((left + WIDTH - RIGHT) / 2, height - 6, "F1 of B minus F1 of A", anchor="middle", kind="axis"))
    return picture(WIDTH, height, parts, "Differences of F1 by label")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<polyline class="{}" points="{:.1f},{:.1f} {:.1f},{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
