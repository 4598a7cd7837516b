"""Split the lines of a CSV file into values; the lines of a row are read one at a time."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

# The end of a line. Python on Windows writes \r\r\n when a file is opened without newline="".
LINE_END = "\r\n"
SHOWN_CHARACTERS = 40
NEVER_CLOSED = "a quote is opened and never closed"

TakeLine = Callable[[], str | None]


class QuoteError(ValueError):
    """A line breaks the rules of quoting; the message explains how."""


@dataclass(frozen=True, kw_only=True)
class CsvRules:
    """How values are written.

    Attributes:
        delimiter: Character between two values.
        quote: Character around quoted values; empty if quotes are plain text.
        escape: Character that makes the quote, delimiter, line break or escape after it plain text; empty if the file
            has no escape character.
        escape_unquoted: True if the escape character also works in values without quotes.
        padded: True if blanks around values are not part of the values.
    """

    delimiter: str
    quote: str = '"'
    escape: str = ""
    escape_unquoted: bool = True
    padded: bool = False

    @cached_property
    def _quoted(self) -> re.Pattern[str]:
        """Match a quoted value up to its closing quote or the end of the line."""
        quote, escape = re.escape(self.quote), re.escape(self.escape)
        escaped = rf"|{escape}(?:\r\n|.|\Z)" if escape else ""
        return re.compile(rf"(?:[^{quote}{escape}]++|{quote}{quote}{escaped})*+", re.DOTALL)

    @cached_property
    def _plain(self) -> re.Pattern[str]:
        """Match a value without quotes but with escapes, up to a delimiter or the end of the line."""
        delimiter, escape = re.escape(self.delimiter), re.escape(self.escape)
        return re.compile(rf"(?:[^{delimiter}{escape}\r\n]++|{escape}(?:\r\n|.|\Z)|\r(?!\r*\n|\Z))*+", re.DOTALL)

    @cached_property
    def _escaped(self) -> re.Pattern[str]:
        # Programs that do not quote values still escape the quotes in them.
        marks = re.escape((self.quote or '"') + self.escape + self.delimiter)
        return re.compile(rf"{re.escape(self.escape)}(\r\n|[\r\n{marks}])")

    def split(self, line: str) -> list[str]:
        """Return the values of a line as if quotes were plain text."""
        return line.rstrip(LINE_END).split(self.delimiter)

    def values(self, take: TakeLine) -> list[str] | None:
        """Return the values of the next row, or None after the last.

        Args:
            take: Function that returns the next line with its line end, or None after the last line. It is called once
                for each line of the row.

        Raises:
            QuoteError: The row breaks the rules of quoting.
        """
        line = take()
        if line is None:
            return None
        if not (self.quote and self.quote in line) and not (self.escape and self.escape in line) and not self.padded:
            return self.split(line)
        values: list[str] = []
        position = 0
        while True:
            if self.padded:
                position = _after_blanks(line, position)
            if self.quote and line.startswith(self.quote, position):
                value, line, position = self._quoted_value(take, line, position + 1)
            else:
                value, line, position = self._plain_value(take, line, position)
            values.append(value)
            if not line[position:].strip(LINE_END):
                return values
            position += 1  # the delimiter

    def _quoted_value(self, take: TakeLine, line: str, position: int) -> tuple[str, str, int]:
        """Return a quoted value, the line on which it ends, and the position after its closing quote."""
        pieces = []
        while True:
            pieces.append(_matched(self._quoted, line, position))
            position += len(pieces[-1])
            if position < len(line):
                break
            following = take()
            if following is None:
                raise QuoteError(f"{NEVER_CLOSED}: {_shown(''.join(pieces))}")
            line, position = following, 0
        position += 1
        if self.padded:
            position = _after_blanks(line, position)
        if line[position:].strip(LINE_END) and line[position] != self.delimiter:
            raise QuoteError(f"a closing quote is followed by more text: {_shown(line[position:])}")
        text = "".join(pieces)
        if self.escape:
            parts = self._escaped.split(text)  # every second part was escaped
            parts[::2] = [part.replace(self.quote * 2, self.quote) for part in parts[::2]]
            return "".join(parts), line, position
        return text.replace(self.quote * 2, self.quote), line, position

    def _plain_value(self, take: TakeLine, line: str, position: int) -> tuple[str, str, int]:
        if not (self.escape and self.escape_unquoted):
            end = line.find(self.delimiter, position)
            end = len(line.rstrip(LINE_END)) if end < 0 else end
            return self._unpadded(line[position:end]), line, end
        pieces = []
        while True:
            pieces.append(_matched(self._plain, line, position))
            position += len(pieces[-1])
            goes_on = position == len(line) and line.endswith("\n")  # the line break is escaped
            following = take() if goes_on else None
            if following is None:
                return self._unpadded(self._escaped.sub(r"\1", "".join(pieces))), line, position
            line, position = following, 0

    def _unpadded(self, value: str) -> str:
        return value.strip(" ") if self.padded else value


def _matched(pattern: re.Pattern[str], line: str, position: int) -> str:
    match = pattern.match(line, position)
    return match[0] if match else ""


def _after_blanks(line: str, position: int) -> int:
    while line[position : position + 1] == " ":
        position += 1
    return position


def _shown(text: str) -> str:
    """Return the beginning of a text as one line, to quote in a message."""
    line = " ".join(text[: 2 * SHOWN_CHARACTERS].split())
    return line[:SHOWN_CHARACTERS] + ("…" if len(line) > SHOWN_CHARACTERS else "")
