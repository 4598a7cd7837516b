"""Read S2ORC metadata: one JSON object per line, about half of them without an abstract."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from specter_batch.papers.labels import MAG
from specter_jobs.dumps.json_records import id_of, read_json_lines
from specter_jobs.dumps.json_values import as_id, as_text, as_year, optional_label, require_keys
from specter_jobs.dumps.readers.markup import without_markup
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions

# S2ORC writes "Computer Science" where SciDocs' table has "Computer science".
_MAG_NAMES = {name.casefold(): name for name in MAG}
# S2ORC writes `:::` for the line breaks of a structured abstract.
_BREAKS = re.compile(r"(?:\s*:::)+\s*")


class S2orcReader:
    """Reads `metadata_N.jsonl.gz`.

    The label is `mag_field_of_study` if the list has exactly one field, with its name in SciDocs' table of MAG classes.
    """

    name = "s2orc"
    suffixes = (".jsonl", ".json")
    label_choices = ("mag_field_of_study",)
    default_label = "mag_field_of_study"

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read the metadata line by line."""
        identify = id_of("paper_id")
        return read_json_lines(stream, lambda position, value: _paper(position, value, options), identify=identify)


def _paper(position: int, value: Any, options: ReadOptions) -> PaperRecord:
    record = require_keys(value, ("paper_id", "title", "abstract"))
    field, unusable = optional_label(record.get("mag_field_of_study") if options.label else None)
    return PaperRecord(
        paper_id=as_id(record["paper_id"], "paper_id"),
        title=without_markup(as_text(record["title"], "title")),
        abstract=_abstract(as_text(record["abstract"], "abstract")),
        label=_MAG_NAMES.get(field.casefold(), field) if field else None,
        label_unusable=unusable,
        year=as_year(record.get("year")),
        position=position,
    )


def _abstract(text: str | None) -> str | None:
    return None if text is None else without_markup(_BREAKS.sub("\n", text))
