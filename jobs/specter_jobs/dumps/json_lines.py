"""JSON Lines: one record a line, read with orjson; a bad line costs itself only."""

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import orjson

from specter_jobs.dumps.json_values import FieldError, as_id
from specter_jobs.dumps.records import MalformedRecord, PaperRecord

# The longest record known, an OpenAlex work of thousands of authors, has a few MB. It bounds the memory of a line.
MAX_LINE_BYTES = 64 << 20
DETAIL_CHARACTERS = 200

Parse = Callable[[int, Any], PaperRecord]


def read_json_lines(stream: BinaryIO, parse: Parse, *, id_field: str) -> Iterator[PaperRecord | MalformedRecord]:
    """Read one record a line; empty lines are passed over, positions are line numbers from 1.

    Args:
        stream: Decompressed.
        parse: Makes a paper of a position and a parsed line; raises `FieldError` where it cannot.
        id_field: The field that names a record whose other fields are wrong.
    """
    for position, value in json_values(stream):
        yield value if isinstance(value, MalformedRecord) else parsed(parse, position, value, id_field=id_field)


def parsed(parse: Parse, position: int, value: Any, *, id_field: str) -> PaperRecord | MalformedRecord:
    """Make a paper of a parsed record, or a reject that names it as far as it can be named."""
    try:
        return parse(position, value)
    except FieldError as error:
        try:
            paper_id = as_id(value.get(id_field), id_field) if isinstance(value, dict) else None
        except FieldError:
            paper_id = None
        return MalformedRecord(position=position, detail=str(error), paper_id=paper_id)


def json_values(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Yield line number and parsed value of each line; a line that is no JSON as a `MalformedRecord`."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield number, MalformedRecord(position=number, detail=f"a line of more than {MAX_LINE_BYTES >> 20} MB")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.isspace() and line:
            try:
                yield number, loads(line)
            except FieldError as error:
                yield number, MalformedRecord(position=number, detail=str(error))


def loads(line: bytes) -> Any:
    """Parse JSON with orjson; what only Python's own writer emits (NaN) is taken as null.

    Raises:
        FieldError: It is not JSON, or not UTF-8.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            # orjson writes NaN and infinities as null, and refuses half surrogate pairs and huge integers.
            return orjson.loads(orjson.dumps(json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            detail = f"not valid JSON ({error}): {line[:80].decode('utf-8', errors='replace').strip()}"
            raise FieldError(" ".join(detail.split())[:DETAIL_CHARACTERS]) from None
