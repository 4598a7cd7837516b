"""Read JSON records, one per line with orjson, or in the other layouts that programs and APIs write."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from specter_batch.storage.json_stream import UnreadableValue
from specter_jobs.dumps.json.layouts import (
    Holders,
    continues,
    is_long_value,
    records_within,
    scanned_records,
    several_values,
)
from specter_jobs.dumps.json.values import FieldError, JsonObject, as_id, loads
from specter_jobs.dumps.records import MalformedRecord, PaperRecord

# Limits the memory that one line needs. The longest known record, an OpenAlex work of thousands of authors, has a few
# MB.
MAX_LINE_BYTES = 64 << 20
# A list or an API response on one line is read at once up to this size in bytes; a longer one is streamed.
HEAD_BYTES = 1 << 20

Parse = Callable[[int, Any], PaperRecord]
Identify = Callable[[JsonObject], str | None]  # returns a record's id; raises `FieldError` if it is unusable


def read_json_lines(
    stream: BinaryIO, parse: Parse, *, identify: Identify, holders: Holders = ()
) -> Iterator[PaperRecord | MalformedRecord]:
    """Read JSON records in any layout; if a record cannot be parsed, only that record is rejected.

    Args:
        stream: Decompressed content of the file.
        parse: Function that makes a paper from a position and a parsed record, or raises `FieldError`.
        identify: Function that returns the id of a record whose other fields are wrong, as `parse` would.
        holders: Names of the members of an API response that hold records.
    """
    for position, value in json_values(stream, holders):
        yield value if isinstance(value, MalformedRecord) else parsed(parse, position, value, identify=identify)


def id_of(*fields: str) -> Identify:
    """Return a function that reads a record's id from the first of these fields that it has."""

    def identify(record: JsonObject) -> str | None:
        return next((as_id(record[field], field) for field in fields if field in record), None)

    return identify


def parsed(parse: Parse, position: int, value: Any, *, identify: Identify) -> PaperRecord | MalformedRecord:
    """Make a paper from a parsed record, or a reject with the record's id if that can be read."""
    if isinstance(value, UnreadableValue):
        return MalformedRecord(position=position, detail=value.detail)
    try:
        return parse(position, value)
    except FieldError as error:
        try:
            paper_id = identify(value) if isinstance(value, dict) else None
        except FieldError:
            paper_id = None
        return MalformedRecord(position=position, detail=str(error), paper_id=paper_id)


def json_values(
    stream: BinaryIO, holders: Holders = (), *, most_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, Any]]:
    """Yield position and value of each record; the value is a `MalformedRecord` if it is not JSON.

    Records are single lines, items of lists, or members of API responses, with or without line breaks in them.
    Positions are line numbers from 1. If records share a line or span several lines, the position is the last
    position plus 1.

    Args:
        stream: Decompressed content of the file.
        holders: Names of the members of an API response that hold records.
        most_bytes: Maximum size of a line in bytes; a longer line is malformed.

    Raises:
        PaperSchemaError: A value that spans several lines is cut off, or is not JSON.
    """
    position = 0
    for line, value in _values(stream, holders, most_bytes):
        position = max(position + 1, line)
        if isinstance(value, UnreadableValue):
            value = MalformedRecord(position=position, detail=value.detail)
        yield position, replace(value, position=position) if isinstance(value, MalformedRecord) else value


def _values(stream: BinaryIO, holders: Holders, most_bytes: int) -> Iterator[tuple[int, Any]]:
    """Yield line number and record; the line number is 0 inside a value that spans lines."""
    head = stream.readline(HEAD_BYTES)
    if len(head) == HEAD_BYTES and not head.endswith(b"\n") and is_long_value(head, holders):
        yield from ((0, value) for value in scanned_records(stream, head, holders))
        return
    lines = _Lines(stream, head, most_bytes)
    while (line := lines.next()) is not None:
        number = lines.number
        if not line:
            detail = f"a line of more than {most_bytes >> 20} MB"
            yield number, MalformedRecord(position=number, detail=detail)
            continue
        try:
            value = loads(line)
        except FieldError as error:
            following = lines.peek()
            # A list or an API response that is cut off is read up to the cut, so that its complete records are kept.
            if continues(line, following, holders) or is_long_value(line, holders):
                rest = scanned_records(stream, line + following, holders)
                yield from ((0, value) for value in rest)
                return
            values = several_values(line) or [MalformedRecord(position=number, detail=str(error))]
            yield from ((number, record) for value in values for record in records_within(value, holders))
            continue
        if holders or isinstance(value, list):
            yield from ((number, record) for record in records_within(value, holders))
        else:
            yield number, value


class _Lines:
    """The lines of a stream that are not blank.

    Attributes:
        number: Number of the last line, from 1.
    """

    def __init__(self, stream: BinaryIO, head: bytes, most_bytes: int) -> None:
        self.number = 0
        self._most_bytes = most_bytes
        self._stream = stream
        self._head = head.removeprefix(b"\xef\xbb\xbf")
        self._ahead: deque[bytes] = deque()

    def next(self) -> bytes | None:
        """Return the next line, an empty line if it has more than `most_bytes`, or None at the end."""
        while (line := self._ahead.popleft() if self._ahead else self._read()) is not None:
            self.number += 1
            if not line.isspace():
                return line
        return None

    def peek(self) -> bytes:
        """Return the line that `next` would return, with the blank lines before it; empty at the end."""
        while not self._ahead or self._ahead[-1].isspace():
            line = self._read()
            if line is None:
                break
            self._ahead.append(line)
        return b"".join(self._ahead)

    def _read(self) -> bytes | None:
        line, self._head = self._head, b""
        if not line.endswith(b"\n"):
            line += self._stream.readline(self._most_bytes - len(line))
        if len(line) < self._most_bytes or line.endswith(b"\n"):
            return line or None
        while (rest := self._stream.readline(self._most_bytes)) and not rest.endswith(b"\n"):
            pass
        return b""
