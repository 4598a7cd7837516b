"""Read the metadata of SPECTER and SciDocs: one JSON object that maps paper ids to papers."""

from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

from specter_batch.errors import PaperSchemaError
from specter_batch.storage.json_stream import JsonScanner
from specter_jobs.dumps.json_records import parsed
from specter_jobs.dumps.json_values import JsonObject, as_id, as_text, as_year, require_keys
from specter_jobs.dumps.readers.markup import without_markup
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions


class ScidocsReader:
    """Reads `paper_metadata_*.json` and SPECTER's `metadata.json`, streaming.

    Labels are in separate files (`mag/train.csv`, `mesh/train.csv`), so this format has no label fields.
    """

    name = "scidocs"
    suffixes = (".json",)
    label_choices: tuple[str, ...] = ()

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read the members of the object in file order; positions are numbers of members from 1."""
        del options  # the format has no labels, and the driver filters by year
        scanner = JsonScanner(stream)
        if not scanner.peek():
            return
        for position, key in enumerate(scanner.members(), start=1):
            yield parsed(partial(_paper, key), position, scanner.value(), identify=partial(_id, key))
        if scanner.peek():
            raise PaperSchemaError("more follows the metadata object; expected one JSON object, paper id -> paper")


def _paper(key: str, position: int, value: Any) -> PaperRecord:
    record = require_keys(value, ("title",))
    return PaperRecord(
        paper_id=_id(key, record),
        title=without_markup(as_text(record["title"], "title")),
        abstract=without_markup(as_text(record.get("abstract"), "abstract")),
        year=as_year(record.get("year")),
        position=position,
    )


def _id(key: str, record: JsonObject) -> str | None:
    """Return the key of the paper, because label files and training splits refer to it."""
    return as_id(key, "paper id") or as_id(record.get("paper_id"), "paper_id")
