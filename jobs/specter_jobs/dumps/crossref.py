"""Crossref works: public data files `{"items": [...]}`, JSON Lines, and replies of the API."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from specter_batch.json_scan import JsonScanner
from specter_jobs.dumps.json_lines import parsed, read_json_lines
from specter_jobs.dumps.json_values import FieldError, as_id, as_text, as_year, require_keys
from specter_jobs.dumps.markup import fragment_text
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions, WrongFormatError

HEAD_BYTES = 1 << 16
# A work never begins with one of these: its file is a list of works, or an answer that holds works or one work.
_ENVELOPE = re.compile(rb'\s*(?:\[|\{\s*"(?:items|message|status|message-type|message-version)"\s*:)')
# An object whose first line ends here goes on on the next: it was written with indents.
_INDENTED = re.compile(rb"\s*\{(?:[^\n]*[,{\[])?[ \t\r]*\n")
_DOI_PREFIX = re.compile(r"\s*(?:(?:https?://)?(?:dx\.)?doi\.org/|doi:\s*)", re.IGNORECASE)
_DATES = ("published", "issued", "published-print", "published-online", "posted")


class CrossrefReader:
    """Reads works in all the layouts that Crossref hands out; which one, the first bytes tell.

    The id is the DOI in lower case. Titles and abstracts lose their JATS mark-up. Labels: `type` ("journal-article"),
    or `subject` where a work names exactly one. Positions are lines in JSON Lines, and count works from 1 elsewhere.
    """

    name = "crossref"
    suffixes = (".json", ".jsonl")
    label_choices = ("type", "subject")

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Yield the works in file order; whatever the file's size, one work and a buffer are held.

        Raises:
            PaperSchemaError: The JSON breaks off or is not valid.
            WrongFormatError: It is an answer without works.
        """

        def parse(position: int, work: Any) -> PaperRecord:
            return _paper(position, work, options.label)

        head = stream.read(HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")
        if _ENVELOPE.match(head) or _INDENTED.match(head):
            for position, work in enumerate(_works(JsonScanner(stream, head=head)), start=1):
                yield parsed(parse, position, work, id_field="DOI")
        else:
            lines = io.BufferedReader(_Rejoined(head, stream), HEAD_BYTES)
            yield from read_json_lines(lines, parse, id_field="DOI")


class _Rejoined(io.RawIOBase):
    """A stream with the bytes already read from it put back in front."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._head[: len(buffer)] or self._stream.read(len(buffer))
        self._head = self._head[len(chunk) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _works(scanner: JsonScanner) -> Iterator[Any]:
    while following := scanner.peek():
        yield from scanner.items() if following == "[" else _works_of_object(scanner)


def _works_of_object(scanner: JsonScanner) -> Iterator[Any]:
    """Yield the works of a data file or a reply, or the object itself where it is a work."""
    work: dict[str, Any] = {}
    envelope = False
    for key in scanner.members():
        following = scanner.peek()
        if key == "items" and following == "[":
            envelope = True
            yield from scanner.items()
        elif key == "message" and following == "{":
            envelope = True
            yield from _works_of_object(scanner)
        else:
            work[key] = scanner.value()
    if not envelope and ("message" in work or "message-type" in work):
        raise WrongFormatError(f"expected works, got an answer that says {str(work.get('message'))[:200]}")
    if not envelope:
        yield work


def _paper(position: int, value: Any, label: str | None) -> PaperRecord:
    work = require_keys(value, ("DOI",))
    doi = _DOI_PREFIX.sub("", as_id(work["DOI"], "DOI") or "", count=1).lower()
    abstract = as_text(work.get("abstract"), "abstract")
    return PaperRecord(
        paper_id=doi or None,
        title=_title(work.get("title")),
        abstract=fragment_text(abstract, heading=True) if abstract else None,
        label=_label(work, label),
        year=_year(work),
        position=position,
    )


def _title(value: Any) -> str | None:
    """Return the first title that is not empty; the others are the same title in other words or languages."""
    titles = value if isinstance(value, list) else [value]
    return next((text for title in titles if (text := fragment_text(as_text(title, "title") or ""))), None)


def _year(work: dict[str, Any]) -> int | None:
    """Return the year of the first known date: `{"date-parts": [[2002, 7, 28]]}`, where any part may be null."""
    for name in _DATES:
        value: Any = work.get(name)
        value = value.get("date-parts") if isinstance(value, dict) else None
        while isinstance(value, list):
            value = value[0] if value else None
        if (year := as_year(value)) is not None:
            return year
    return None


def _label(work: dict[str, Any], choice: str | None) -> str | None:
    if choice == "type":
        return as_id(work.get("type"), "type")
    if choice != "subject":
        return None
    subjects = work.get("subject") or []
    if not isinstance(subjects, list):
        raise FieldError("subject should be a list")
    distinct = {as_id(subject, "subject") for subject in subjects} - {None}
    return distinct.pop() if len(distinct) == 1 else None
