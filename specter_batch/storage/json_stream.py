"""Reads one giant JSON value as a stream of the members of an object, or of the items of a list.

`json.load` holds the whole file and its objects in memory, five to eight times the size of the file. `JsonScanner` only
holds one member at a time and a sliding buffer. ijson needs as little memory, but it cannot continue after a damaged
member. `docs/benchmarks.md` compares both. `parse_value` skips a value that Python cannot hold.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from specter_batch.errors import PaperSchemaError

READ_BYTES = 1 << 20
# A larger member is not a paper. Without this limit, a missing quote would read the rest of the file into memory.
MAX_VALUE_CHARACTERS = 64 << 20

_NOT_SPACE = re.compile(r"[^ \t\r\n]")
# Matches a number at the end of the buffer, which may be cut: both "0" and "0." could become "0.5".
_UNFINISHED = re.compile(r"[\w.+-]*\Z")

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


class JsonScanner:
    """A cursor over a stream of JSON.

    Args:
        stream: UTF-8 bytes, decompressed. Bytes that are not UTF-8 become lone surrogates, which readers refuse.
        head: Bytes that were already read from the stream.
        read_bytes: Smallest number of bytes to read at once.
        most_characters: Largest size of a value in characters; a larger value is an error.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        head: bytes = b"",
        read_bytes: int = READ_BYTES,
        most_characters: int = MAX_VALUE_CHARACTERS,
    ) -> None:
        self._read_bytes, self._most_characters = read_bytes, most_characters
        self._stream = stream
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        self._buffer = self._utf8.decode(head)
        self._at = 0
        self._passed = 0
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is not white space, or an empty text at the end."""
        while True:
            match = _NOT_SPACE.search(self._buffer, self._at)
            self._at = match.start() if match else len(self._buffer)
            if self._at < len(self._buffer) or not self._more():
                return self._buffer[self._at : self._at + 1]

    def take(self, expected: str) -> None:
        """Skip one character.

        Raises:
            PaperSchemaError: The next character is another one, or the file ends.
        """
        character = self.peek()
        if character != expected:
            raise self._broken(f"expected {expected}, got {character or 'the end of the file'}")
        self._at += 1

    def value(self) -> Any:
        """Parse the next value, of at most `most_characters` characters, as `parse_value` does."""
        self.peek()
        while True:
            try:
                value, end = parse_value(self._buffer, self._at)
            except json.JSONDecodeError as error:
                problem = error.msg
            except OpenValue:
                problem = "nested too deeply"
            else:
                if not _UNFINISHED.match(self._buffer, end) or not self._more():
                    self._at = end
                    return value
                continue
            if len(self._buffer) - self._at > self._most_characters or not self._more():
                raise self._broken(problem if not self._ended else f"{problem}, or the file breaks off")

    def members(self) -> Iterator[str]:
        """Yield each key of the next object. The caller must read its value before the next key."""
        self.take("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise self._broken("expected a key in quotes")
            self.take(":")
            yield key
            if self.peek() != "}":
                self.take(",")
        self.take("}")

    def items(self) -> Iterator[Any]:
        """Yield each item of the next list."""
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() != "]":
                self.take(",")
        self.take("]")

    def _more(self) -> bool:
        if self._ended:
            return False
        # An unfinished value is parsed again from its start. Doubling the amount read keeps the total time linear.
        chunk = self._stream.read(max(self._read_bytes, len(self._buffer) - self._at))
        self._ended = not chunk
        self._passed += self._at
        self._buffer = self._buffer[self._at :] + self._utf8.decode(chunk, final=self._ended)
        self._at = 0
        return True

    def _broken(self, problem: str) -> PaperSchemaError:
        return PaperSchemaError(f"not valid JSON at character {self._passed + self._at}: {problem}")
