"""Read JSON records, one per line with orjson, or in the other layouts that programs and APIs write.

These layouts are lists, values with line breaks, and API responses that hold records.
"""

import io
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from specter_batch.errors import PaperSchemaError
from specter_batch.storage.json_stream import JsonScanner, OpenValue, UnreadableValue, end_of_value
from specter_jobs.dumps.json_values import FieldError, JsonObject, as_id, loads
from specter_jobs.dumps.records import MalformedRecord, PaperRecord

# Maximum depth at which records are looked for. Even a list of lists of API responses is less deep.
MAX_DEPTH = 8
# Members that come before the records in the API responses of OpenAlex and Crossref.
_BEFORE_RECORDS = ("meta", "status", "message-type", "message-version", "facets", "total-results", "group_by")

# Names of members whose value is a record, an API response, or a list of these.
Holders = tuple[str, ...]

# Limits the memory that one line needs. The longest known record, an OpenAlex work of thousands of authors, has a few
# MB.
MAX_LINE_BYTES = 64 << 20
# A list or an API response on one line is read at once up to this size in bytes; a longer one is streamed.
HEAD_BYTES = 1 << 20

Parse = Callable[[int, Any], PaperRecord]
Identify = Callable[[JsonObject], str | None]  # returns a record's id; raises `FieldError` if it is unusable


def records_within(value: Any, holders: Holders, depth: int = 0) -> Iterator[Any]:
    """Yield the records of a parsed value: the items of a list, the records of an API response, or the value itself."""
    name = _holder(value, holders)
    held = value if _is_list_of_records(value) else value[name] if name else None
    if held is None or depth == MAX_DEPTH:
        yield value
    elif isinstance(held, list):
        for item in held:
            yield from records_within(item, holders, depth + 1)
    else:
        yield from records_within(held, holders, depth + 1)


def scanned_records(stream: BinaryIO, head: bytes, holders: Holders) -> Iterator[Any]:
    """Yield the records of a stream of JSON values with line breaks anywhere.

    Only one record and a buffer are in memory at a time.

    Args:
        stream: Decompressed content of the file.
        head: Bytes that were already taken from the stream.
        holders: Names of the members of an API response that hold records.

    Raises:
        PaperSchemaError: The stream is cut off, or is not JSON.
    """
    scanner = JsonScanner(stream, head=head)
    while following := scanner.peek():
        yield from _scanned(scanner, following, holders)


def is_long_value(head: bytes, holders: Holders) -> bool:
    """Return whether a line with this beginning is a list or an API response, which may be as long as the file."""
    names = "|".join(re.escape(name) for name in (*holders, *_BEFORE_RECORDS))
    return (
        re.match(rb'\s*(?:\[\s*\{|\{\s*"(?:%b)"\s*:)' % names.encode(), head.removeprefix(b"\xef\xbb\xbf")) is not None
    )


def continues(line: bytes, following: bytes, holders: Holders) -> bool:
    """Return whether a value that begins on a line continues on the next line, as in the output of `jq`.

    A record that was cut off does not continue, because its next line is another record. A list does not continue if
    two records follow it without a comma between them.

    Args:
        line: The line.
        following: The next two lines that are not blank.
        holders: Names of the members of an API response that hold records.
    """
    text = line.decode("utf-8-sig", errors="surrogateescape").strip()
    if text[:1] not in ("[", "{"):
        return False
    try:
        end_of_value(text)
    except OpenValue as error:
        expected = error.expected
    except ValueError:
        return False
    else:
        return False
    begin = following.lstrip()[:1].decode("latin-1")
    if not begin or begin not in expected:
        return False
    next_line, _, after = following.lstrip().partition(b"\n")
    if text[0] == "[" and after.lstrip().startswith(b"{") and _is_record(next_line):
        return False
    names = "|".join(map(re.escape, holders))
    return text[0] == "[" or re.search(rf'"(?:{names})"\s*:\s*\[\Z', text) is not None or not _is_record(next_line)


def several_values(line: bytes) -> list[Any]:
    """Return the values of a line with several JSON values in a row, or an empty list for any other line."""
    scanner = JsonScanner(io.BytesIO(line))
    values: list[Any] = []
    try:
        while scanner.peek():
            values.append(scanner.value())
    except PaperSchemaError:
        return []
    return values


def _scanned(scanner: JsonScanner, following: str, holders: Holders) -> Iterator[Any]:
    if following == "[":
        for item in scanner.items():
            yield from records_within(item, holders)
    elif following == "{" and holders:
        yield from _of_object(scanner, holders)
    else:
        yield scanner.value()


def _of_object(scanner: JsonScanner, holders: Holders) -> Iterator[Any]:
    """Yield the records of an API response, or the object itself if it holds no records."""
    record: JsonObject = {}
    is_reply = False
    for key in scanner.members():
        following = scanner.peek()
        if key in holders and following in ("[", "{"):
            is_reply = True
            yield from _scanned(scanner, following, holders)
        else:
            record[key] = scanner.value()
    if not is_reply:
        yield record


def _holder(value: Any, holders: Holders) -> str | None:
    if not isinstance(value, dict):
        return None
    return next((name for name in holders if isinstance(value.get(name), list | dict)), None)


def _is_list_of_records(value: Any) -> bool:
    """Return whether a value is an empty list, or a list of objects or lists.

    A list such as `["a", "b"]` counts as one record of the wrong type.
    """
    return isinstance(value, list) and (not value or any(isinstance(item, list | dict) for item in value))


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(loads(line), dict)
    except FieldError:
        return False


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
            following = lines.peek(2)
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

    def peek(self, lines: int) -> bytes:
        """Return the lines that `next` would return, with the blank lines before them; empty at the end."""
        while sum(not line.isspace() for line in self._ahead) < lines:
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
