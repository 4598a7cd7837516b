"""Read OpenAlex works from snapshot parts, JSON Lines, and saved API pages `{meta, results}`."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any, BinaryIO

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.json_records import read_json_lines
from specter_jobs.dumps.json_values import (
    FieldError,
    JsonObject,
    as_id,
    as_text,
    as_version,
    as_year,
    loads,
    require_keys,
)
from specter_jobs.dumps.readers.markup import fragment_text
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions


class OpenalexReader:
    """Reads `data/works/updated_date=*/part_*.gz` of the snapshot, and saved API responses.

    Mark-up is removed from titles and abstracts. If a work occurs several times, the copy with the newest
    `updated_date` is kept. The label is the name of `primary_topic` at one of its four levels.
    """

    name = "openalex"
    suffixes = (".jsonl", ".json", "")
    label_choices = ("primary_topic.domain", "primary_topic.field", "primary_topic.subfield", "primary_topic")

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read works and pages of works, one per line, in lists, or indented.

        Raises:
            PaperSchemaError: The JSON is cut off or not valid, or it is an API response that reports an error.
        """
        path = options.label.split(".") if options.label else []
        return read_json_lines(stream, lambda at, work: _paper(at, work, path), identify=_id, holders=("results",))


def _paper(position: int, value: Any, path: list[str]) -> PaperRecord:
    if isinstance(value, dict) and "error" in value and "id" not in value:
        said = f"{value['error']}: {value.get('message')}"[:200]
        raise PaperSchemaError(f"record {position} is a reply that reports an error ({said}); fetch it again")
    work = require_keys(value, ("id",))
    if "title" not in work and "display_name" not in work:
        require_keys(work, ("title",))
    paper_id = _id(work)
    if paper_id and not (paper_id[0] in "Ww" and paper_id[1:].isdecimal()):
        raise FieldError(f"{paper_id[:40]} is not the id of a work")
    return PaperRecord(
        paper_id=paper_id,
        title=_title(work),
        abstract=fragment_text(_abstract(work.get("abstract_inverted_index")), heading=True),
        label=_label(work, path),
        year=as_year(work.get("publication_year")),
        position=position,
        version=as_version(work.get("updated_date")),
    )


def _id(work: JsonObject) -> str | None:
    """Return the work's id without its address: `W1` for `https://openalex.org/W1`."""
    return (as_id(work.get("id"), "id") or "").rpartition("/")[2].strip() or None


def _title(work: JsonObject) -> str | None:
    titles = (fragment_text(as_text(work.get(name), name) or "") for name in ("title", "display_name"))
    return next((title for title in titles if title), None)


def _abstract(index: Any) -> str:
    """Return the text of an index `{word: [positions]}` in word order; missing positions leave no gap.

    In tables the index is JSON text. In Microsoft Academic Graph's form it is one level deeper.
    """
    if isinstance(index, str):
        index = loads(index.encode(errors="surrogatepass")) if index.strip() else None
    if isinstance(index, dict) and isinstance(index.get("InvertedIndex"), dict):
        index = index["InvertedIndex"]
    if index is None:
        return ""
    try:
        words = [(place, word) for word, places in index.items() for place in places]
        words.sort(key=itemgetter(0))
        return as_text(" ".join([word for _, word in words]), "abstract_inverted_index") or ""
    except (AttributeError, TypeError):
        raise FieldError("abstract_inverted_index should map words to lists of positions") from None


def _label(work: JsonObject, path: list[str]) -> str | None:
    value: Any = work
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return as_text(value.get("display_name"), "label") if path and isinstance(value, dict) else None
