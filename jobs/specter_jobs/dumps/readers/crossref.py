"""Read Crossref works from public data files `{"items": [...]}`, JSON Lines, and saved API responses."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.json_records import read_json_lines
from specter_jobs.dumps.json_values import FieldError, JsonObject, as_id, as_text, as_version, as_year, require_keys
from specter_jobs.dumps.readers.markup import fragment_text
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions

_DOI_PREFIX = re.compile(r"\s*(?:(?:https?://)?(?:dx\.)?doi\.org/|doi:\s*)", re.IGNORECASE)
_DATES = ("published", "issued", "published-print", "published-online", "posted")


class CrossrefReader:
    """Reads works in all layouts that Crossref publishes.

    The id is the DOI in lower case. JATS mark-up is removed from titles and abstracts. If a work occurs several times,
    the copy that Crossref indexed last is kept. The label is `type` ("journal-article"), or `subject` if a work has
    exactly one. Positions are line numbers in JSON Lines, and numbers of works from 1 in other layouts.
    """

    name = "crossref"
    suffixes = (".json", ".jsonl")
    label_choices = ("type", "subject")

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Yield the works in file order; only one work and a buffer are in memory at a time.

        Raises:
            PaperSchemaError: The JSON is cut off or not valid, or it is an API response without works.
        """

        def parse(position: int, work: Any) -> PaperRecord:
            return _paper(position, work, options.label)

        return read_json_lines(stream, parse, identify=_doi, holders=("items", "message"))


def _paper(position: int, value: Any, label: str | None) -> PaperRecord:
    if isinstance(value, dict) and "DOI" not in value and not {"message", "message-type"}.isdisjoint(value):
        said = str(value.get("message"))[:200]
        raise PaperSchemaError(f"record {position} is a reply without works, which says {said}; fetch it again")
    work = require_keys(value, ("DOI",))
    abstract = as_text(work.get("abstract"), "abstract")
    return PaperRecord(
        paper_id=_doi(work),
        title=_title(work.get("title")),
        abstract=fragment_text(abstract or "", heading=True),
        label=_label(work, label),
        year=_year(work),
        position=position,
        version=_indexed(work),
    )


def _doi(work: JsonObject) -> str | None:
    return _DOI_PREFIX.sub("", as_id(work.get("DOI"), "DOI") or "", count=1).strip().lower() or None


def _indexed(work: JsonObject) -> int:
    indexed = work.get("indexed")
    return as_version(indexed.get("date-time") if isinstance(indexed, dict) else None)


def _title(value: Any) -> str | None:
    """Return the first title that is not empty; other titles repeat it in other words or languages."""
    titles = value if isinstance(value, list) else [value]
    return next((text for title in titles if (text := fragment_text(as_text(title, "title") or ""))), None)


def _year(work: JsonObject) -> int | None:
    """Return the year of the first known date: `{"date-parts": [[2002, 7, 28]]}`, where any part may be null."""
    for name in _DATES:
        value: Any = work.get(name)
        value = value.get("date-parts") if isinstance(value, dict) else None
        while isinstance(value, list):
            value = value[0] if value else None
        if (year := as_year(value)) is not None:
            return year
    return None


def _label(work: JsonObject, choice: str | None) -> str | None:
    if choice == "type":
        return as_id(work.get("type"), "type")
    if choice != "subject":
        return None
    subjects = work.get("subject") or []
    if not isinstance(subjects, list):
        raise FieldError("subject should be a list")
    distinct = {as_id(subject, "subject") for subject in subjects} - {None}
    return distinct.pop() if len(distinct) == 1 else None
