"""Read a text file line by line, keeping line ends; rows have a maximum length, and lines can be put back."""

from __future__ import annotations

import io
from collections import deque
from typing import Any, BinaryIO

from specter_batch.errors import PaperSchemaError

# Limits the memory that one row needs. JSON Lines has the same limit for a line.
MAX_ROW_BYTES = 64 << 20
HEAD_BYTES = 1 << 16


class RowTooLongError(PaperSchemaError):
    """A row is longer than `MAX_ROW_BYTES`."""


class CsvLines:
    """Lines of text from a stream of bytes.

    Bytes that are not UTF-8 become surrogates, as in file names, so that only their row is rejected, not the file. A
    file without any line feed is split at carriage returns, as old Macs wrote them.

    Attributes:
        number: Number of the line that was taken last, from 1.
        taken: The lines since `start_row`.
        most_bytes: Maximum size of a row, in bytes.

    Args:
        stream: Decompressed content of the file.
        most_bytes: Maximum size of a row, in bytes.
    """

    def __init__(self, stream: BinaryIO, *, most_bytes: int = MAX_ROW_BYTES) -> None:
        self.most_bytes = most_bytes
        # A BufferedReader closes its stream when it is deleted, but the stream belongs to the caller.
        buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(_Unclosed(stream), HEAD_BYTES)
        head = buffered.peek(HEAD_BYTES)
        old_mac = b"\r" in head and b"\n" not in head
        self._stream = io.BufferedReader(_LineFeeds(buffered), HEAD_BYTES) if old_mac else buffered
        self._put_back: deque[str] = deque()
        self.number = 0
        self.taken: list[str] = []
        self._taken_size = 0

    def start_row(self) -> None:
        """Forget the lines taken so far."""
        self.taken = []
        self._taken_size = 0

    def take(self) -> str | None:
        """Return the next line with its end, or None after the last.

        Raises:
            RowTooLongError: The lines since `start_row` have more than `most_bytes`.
        """
        if self._put_back:
            line = self._put_back.popleft()
        else:
            raw = self._stream.readline(self.most_bytes)
            if not raw:
                return None
            line = raw.decode(errors="surrogateescape")
            if self.number == 0:
                line = line.removeprefix("\ufeff")
        self.number += 1
        self.taken.append(line)
        self._taken_size += len(line)
        if self._taken_size >= self.most_bytes:
            raise RowTooLongError(f"the row that begins on line {self.first} is longer than {self.most_bytes >> 20} MB")
        return line

    @property
    def first(self) -> int:
        """The number of the first line since `start_row`."""
        return self.number - len(self.taken) + 1

    def put_back(self, keep: int = 0) -> None:
        """Put the lines since `start_row` back, except the first `keep` lines."""
        back = self.taken[keep:]
        self._put_back.extendleft(reversed(back))
        self.number -= len(back)
        self.taken = self.taken[:keep]
        self._taken_size = sum(map(len, self.taken))


class _Unclosed(io.RawIOBase):
    """A raw stream that reads from another stream and does not close it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        return self._stream.read(size)


class _LineFeeds(_Unclosed):
    """Like `_Unclosed`, with carriage returns replaced by line feeds."""

    def _read(self, size: int) -> bytes:
        return super()._read(size).replace(b"\r", b"\n")
