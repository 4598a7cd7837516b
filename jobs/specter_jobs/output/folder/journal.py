"""An append-only file of JSON lines that a kill cannot spoil: the form of every ledger."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from specter_batch.storage.location import Location

Entry = TypeVar("Entry", bound=BaseModel)


def append_entry(path: Path, entry: BaseModel) -> None:
    """Append one entry and sync it to disk."""
    with path.open("ab+") as stream:
        # A kill may have left half a line: it is closed off, and readers pass over what they cannot parse.
        stream.seek(0, os.SEEK_END)
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(entry.model_dump_json().encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_journal(path: Location, kind: type[Entry]) -> list[Entry]:
    """Return the readable entries; a half-written one is as if it were not there."""
    try:
        with path.open("rb") as lines:  # one by one: a ledger of 100,000 shards takes 100 MB
            return read_lines(lines, kind)
    except FileNotFoundError:
        return []


def read_lines(lines: Iterable[bytes], kind: type[Entry]) -> list[Entry]:
    """Return the entries among these lines."""
    entries = []
    for line in lines:
        try:
            entries.append(kind.model_validate_json(line))
        except ValidationError:
            continue
    return entries
