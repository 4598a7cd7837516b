"""Reads one giant JSON value as a stream of the members of an object, or of the items of a list.

`json.load` holds the whole file and its objects in memory, five to eight times the size of the file. `JsonScanner` only
holds one member at a time and a sliding buffer. ijson needs as little memory, but it cannot continue after a damaged
member. `docs/benchmarks.md` compares both.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from specter_batch.errors import PaperSchemaError
from specter_batch.storage.json_value import OpenValue, parse_value

READ_BYTES = 1 << 20
# A larger member is not a paper. Without this limit, a missing quote would read the rest of the file into memory.
MAX_VALUE_CHARACTERS = 64 << 20

_NOT_SPACE = re.compile(r"[^ \t\r\n]")
# Matches a number at the end of the buffer, which may be cut: both "0" and "0." could become "0.5".
_UNFINISHED = re.compile(r"[\w.+-]*\Z")


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
