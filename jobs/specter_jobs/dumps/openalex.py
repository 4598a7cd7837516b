"""OpenAlex works: snapshot parts and JSON Lines, and API pages `{meta, results}`."""

import io
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

from specter_batch.json_scan import JsonScanner
from specter_jobs.dumps.json_lines import MAX_LINE_BYTES, json_values, loads, parsed
from specter_jobs.dumps.json_values import FieldError, as_id, as_text, as_year, require_keys
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions


class OpenalexReader:
    """Reads `data/works/updated_date=*/part_*.gz` of the snapshot, and replies of the API as they were saved.

    Labels: names of `primary_topic` at one of its four levels.
    """

    name = "openalex"
    suffixes = (".jsonl", ".json", "")
    label_choices = ("primary_topic.domain", "primary_topic.field", "primary_topic.subfield", "primary_topic")

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read works one a line, pages one a line, or one indented page; positions are lines, in pages records."""
        path = options.label.split(".") if options.label else []
        position = 0
        for line, value in _values(stream):
            position = max(position + 1, line)
            if isinstance(value, MalformedRecord):
                yield MalformedRecord(position=position, detail=value.detail)
            else:
                yield parsed(lambda at, work: _paper(at, work, path), position, value, id_field="id")


def _values(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Yield line, or 0 within a page, and the parsed work."""
    first = stream.readline(MAX_LINE_BYTES)
    if _is_indented(first):
        yield from _indented(JsonScanner(stream, head=first))
        return
    rest = ((line + 1, value) for line, value in json_values(stream))
    for line, value in chain(json_values(io.BytesIO(first)), rest):
        page = value.get("results") if isinstance(value, dict) else value
        if isinstance(page, list):
            yield from ((0, work) for work in page)
        else:
            yield line, value


def _is_indented(first: bytes) -> bool:
    """Tell whether the value that begins on this line goes on on the next, as in a page that `jq` wrote."""
    if not first.strip().removeprefix(b"\xef\xbb\xbf").startswith((b"{", b"[")):
        return False
    if len(first) < MAX_LINE_BYTES and not first.rstrip().endswith((b"{", b"[", b",")):
        return False
    try:
        loads(first)
    except FieldError:
        return True
    return False


def _indented(scanner: JsonScanner) -> Iterator[tuple[int, Any]]:
    while scanner.peek():
        if scanner.peek() == "[":
            yield from ((0, work) for work in scanner.items())
            continue
        for key in scanner.members():
            if key == "results" and scanner.peek() == "[":
                yield from ((0, work) for work in scanner.items())
            else:
                scanner.value()


def _paper(position: int, value: Any, path: list[str]) -> PaperRecord:
    work = require_keys(value, ("id",))
    if "title" not in work and "display_name" not in work:
        require_keys(work, ("title",))
    paper_id = (as_id(work["id"], "id") or "").rpartition("/")[2]
    if paper_id and not (paper_id[0] in "Ww" and paper_id[1:].isdecimal()):
        raise FieldError(f"{paper_id[:40]} is not the id of a work")
    return PaperRecord(
        paper_id=paper_id or None,
        title=as_text(work.get("title") or work.get("display_name"), "title"),
        abstract=_abstract(work.get("abstract_inverted_index")),
        label=_label(work, path),
        year=as_year(work.get("publication_year")),
        position=position,
    )


def _abstract(index: Any) -> str | None:
    """Return the text of `{word: [positions]}` in word order; gaps close up."""
    if index is None:
        return None
    try:
        words = {place: word for word, places in index.items() for place in places}
        return as_text(" ".join([words[place] for place in sorted(words)]), "abstract_inverted_index") or None
    except (AttributeError, TypeError):
        raise FieldError("abstract_inverted_index should map words to lists of positions") from None


def _label(work: dict[str, Any], path: list[str]) -> str | None:
    value: Any = work
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return as_text(value.get("display_name"), "label") if path and isinstance(value, dict) else None
