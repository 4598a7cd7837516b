"""Parses one JSON value from a text, or skips a value that Python cannot hold."""

import json
import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r'(?:[ \t\r\n]+|"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|true|false|null|NaN|-?Infinity|-?[0-9][0-9.eE+-]*)', re.DOTALL
)
_CLOSED_BY = {"[": "]", "{": "}"}
# Length of the longest token, other than a string, that may be cut in the middle: "-Infinity".
_LONGEST_WORD = 9
# Python does not parse longer integers, because the time grows with the square of the length.
_LONGEST_INTEGER = 4_000


class OpenValue(ValueError):  # noqa: N818  # not an error if more can be read
    """The text ends in the middle of a JSON value.

    Attributes:
        expected: The characters that may come next, apart from white space; empty inside a string.
    """

    def __init__(self, expected: str) -> None:
        super().__init__("the value does not end")
        self.expected = expected


@dataclass(frozen=True, kw_only=True)
class UnreadableValue:
    """A valid JSON value that Python cannot hold. It was skipped, and the text after it can be read.

    Attributes:
        detail: Why the value cannot be held.
    """

    detail: str


def _whole_number(digits: str) -> float:
    """Return the value of an integer, or infinity if it has too many digits."""
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float("-inf" if digits.startswith("-") else "inf")


# NaN becomes None, because Python writes it for a missing number. Strings may hold unescaped line breaks and tabs.
_DECODER = json.JSONDecoder(strict=False, parse_constant=lambda _: None)
_LONG_NUMBERS = json.JSONDecoder(strict=False, parse_constant=lambda _: None, parse_int=_whole_number)


def parse_value(text: str, at: int = 0) -> tuple[Any, int]:
    """Parse the JSON value that begins at position `at`.

    NaN and infinities become None. Integers with too many digits become infinity.

    Returns:
        The value and the position after it. A value that is nested too deeply is an `UnreadableValue`.

    Raises:
        JSONDecodeError: The text is not JSON, or the value does not end in it.
        OpenValue: The value is nested too deeply and does not end in the text.
    """
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError:  # too many digits
        try:
            return _LONG_NUMBERS.raw_decode(text, at)
        except RecursionError:
            return UnreadableValue(detail="nested too deeply"), end_of_value(text, at)
    except RecursionError:
        return UnreadableValue(detail="nested too deeply"), end_of_value(text, at)


def end_of_value(text: str, at: int = 0) -> int:
    """Return the position after the list or object that begins at position `at`, without parsing it.

    Raises:
        JSONDecodeError: The text is not JSON.
        OpenValue: The list or object does not end in this text.
    """
    open_: list[str] = []
    last = ""
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            if at == len(text):
                raise OpenValue(_expected(open_, last))
            if text[at] == '"' or len(text) - at < _LONGEST_WORD:
                raise OpenValue("")
            raise json.JSONDecodeError("Expecting value", text, at)
        begin, at = text[match.start()], match.end()
        if begin.isspace():
            continue
        last = begin
        if begin in _CLOSED_BY:
            open_.append(begin)
        elif begin in "]}" and (not open_ or _CLOSED_BY[open_.pop()] != begin):
            raise json.JSONDecodeError("Unexpected bracket", text, match.start())
        if not open_:
            return at


def _expected(open_: list[str], last: str) -> str:
    """Return the characters that may follow the last token inside the open brackets."""
    if not open_:
        return ""
    if last == ":":
        return '"[{tfnN-0123456789'
    if last in "[,":
        return ('"[{tfnN-0123456789' if open_[-1] == "[" else '"') + ("]" if last == "[" else "")
    if last == "{":
        return '"}'
    return ",:" if last == '"' and open_[-1] == "{" else "," + _CLOSED_BY[open_[-1]]
