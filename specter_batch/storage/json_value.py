"""One JSON value out of a text: parsed, or passed over where Python cannot hold it."""

import json
import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r'(?:[ \t\r\n]+|"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|true|false|null|NaN|-?Infinity|-?[0-9][0-9.eE+-]*)', re.DOTALL
)
_CLOSED_BY = {"[": "]", "{": "}"}
# The longest token that may be cut in the middle and is no text: "-Infinity".
_LONGEST_WORD = 9
# Python refuses to read longer whole numbers, which take time by the square of their length.
_LONGEST_INTEGER = 4_000


class OpenValue(ValueError):  # noqa: N818  # not an error where more can be read
    """A JSON value that does not end in the text that is there.

    Attributes:
        expected: The characters that may come next, apart from white space; empty within a text.
    """

    def __init__(self, expected: str) -> None:
        super().__init__("the value does not end")
        self.expected = expected


@dataclass(frozen=True, kw_only=True)
class UnreadableValue:
    """A value that is JSON and cannot be held; it was passed over, and what follows it can be read.

    Attributes:
        detail: Why.
    """

    detail: str


def _whole_number(digits: str) -> float:
    """Return a whole number, or infinity where it has too many digits to be read."""
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float("-inf" if digits.startswith("-") else "inf")


# NaN is what Python writes for a missing number. Texts may hold line breaks and tabs that should have been escaped.
_DECODER = json.JSONDecoder(strict=False, parse_constant=lambda _: None)
_LONG_NUMBERS = json.JSONDecoder(strict=False, parse_constant=lambda _: None, parse_int=_whole_number)


def parse_value(text: str, at: int = 0) -> tuple[Any, int]:
    """Parse the JSON value that begins at a place; NaN and infinities become None, endless integers infinite.

    Returns:
        The value, an `UnreadableValue` where it is nested too deeply, and where it ends.

    Raises:
        JSONDecodeError: It is not JSON, or does not end.
        OpenValue: It is nested too deeply and does not end.
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
    """Return where the list or object that begins at a place ends, without parsing it.

    Raises:
        JSONDecodeError: Something is there that no JSON holds.
        OpenValue: It does not end in this text.
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
    """Return the characters that may follow the last token within these brackets."""
    if not open_:
        return ""
    if last == ":":
        return '"[{tfnN-0123456789'
    if last in "[,":
        return ('"[{tfnN-0123456789' if open_[-1] == "[" else '"') + ("]" if last == "[" else "")
    if last == "{":
        return '"}'
    return ",:" if last == '"' and open_[-1] == "{" else "," + _CLOSED_BY[open_[-1]]
