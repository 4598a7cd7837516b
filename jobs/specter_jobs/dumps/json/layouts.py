"""Read JSON that is not one record per line: lists, indented values, and API responses that hold records."""

import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from specter_batch.errors import PaperSchemaError
from specter_batch.storage.json_stream import JsonScanner, OpenValue, end_of_value
from specter_jobs.dumps.json.values import FieldError, JsonObject, loads

# Maximum depth at which records are looked for. Even a list of lists of API responses is less deep.
MAX_DEPTH = 8
# Members that come before the records in the API responses of OpenAlex and Crossref.
_BEFORE_RECORDS = ("meta", "status", "message-type", "message-version", "facets", "total-results", "group_by")

# Names of members whose value is a record, an API response, or a list of these.
Holders = tuple[str, ...]


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

    A record that was cut off does not continue, because its next line is another record.
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
    names = "|".join(map(re.escape, holders))
    return text[0] == "[" or re.search(rf'"(?:{names})"\s*:\s*\[\Z', text) is not None or not _is_record(following)


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
