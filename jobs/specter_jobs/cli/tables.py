"""Tables that fit into the width of a terminal, whatever is in them."""

import shutil
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from specter_batch.display import terminal_text

# The width that is used where the output is not a terminal, and the narrowest one.
USUAL_WIDTH, LEAST_WIDTH = 80, 40
_GAP = "  "
# No column is cut below this.
_LEAST_CELL = 5


def terminal_width() -> int:
    """Return the number of characters in a line of the terminal, or `USUAL_WIDTH` without a terminal."""
    return max(shutil.get_terminal_size((USUAL_WIDTH, 24)).columns, LEAST_WIDTH)


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, below: Sequence[str] = (), numbers: Sequence[str] = ()
) -> list[str]:
    """Return the lines of a table. The widest columns are cut until the table fits.

    Args:
        columns: The names of the columns.
        rows: A text for each column.
        below: A text that is written below each row, cut at the width; none when empty.
        numbers: The names of the columns that are aligned to the right.
    """
    width = terminal_width()
    cleaned = [[terminal_text(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(cell_len(row[number]) for row in cleaned) for number in range(len(columns))]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width and max(widths) > _LEAST_CELL:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for number, row in enumerate(cleaned):
        cells = [
            _cell(cell, size, right=name in numbers) for cell, size, name in zip(row, widths, columns, strict=True)
        ]
        lines.append(_GAP.join(cells).rstrip())
        if number and below:
            lines.append(f"  {cut(terminal_text(below[number - 1]), width - 2)}".rstrip())
    return lines


def cut(text: str, width: int) -> str:
    """Return a text that is at most so wide; characters of Chinese, Japanese and Korean are two wide."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…"


def _cell(text: str, width: int, *, right: bool) -> str:
    shown = cut(text, width)
    blank = " " * (width - cell_len(shown))
    return blank + shown if right else shown + blank
