"""The metadata of SciDocs: one JSON object, paper id -> paper, of which texts in English are wanted."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from specter_batch.errors import PaperSchemaError
from specter_batch.papers.language import EnglishFilter
from specter_batch.papers.text import is_missing
from specter_batch.storage.json_stream import JsonScanner, UnreadableValue

METADATA_FILE = "paper_metadata_mag_mesh.json"

Reason = Literal[
    "repeated_id", "malformed_record", "missing_title", "missing_abstract", "not_english", "unknown_id"
]  # in the order they are looked for: a paper is dropped once, for the first; a repeated id costs its further rows


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Why a paper is left out."""

    reason: Reason
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Every paper of the metadata, in file order: it is either kept or dropped.

    Attributes:
        texts: Paper id -> title and abstract.
        dropped: Paper id -> reason.
    """

    texts: dict[str, tuple[str, str]] = field(default_factory=dict)
    dropped: dict[str, Drop] = field(default_factory=dict)


def read_metadata(stream: BinaryIO, *, where: str, english: EnglishFilter | None) -> Metadata:
    """Read the metadata as a stream. Only the title and the abstract of each paper are held in memory.

    A malformed paper is dropped and does not affect other papers.

    Args:
        stream: The open file.
        where: Name of the file in messages.
        english: Filter that drops papers in other languages; all papers are kept when None.

    Raises:
        PaperSchemaError: The file is not one JSON object, or a paper id is not usable or occurs twice.
    """
    metadata = Metadata()
    try:
        for paper_id, paper in _members(JsonScanner(stream)):
            judged = _judge(paper, english)
            if isinstance(judged, Drop):
                metadata.dropped[paper_id] = judged
            else:
                metadata.texts[paper_id] = judged
    except PaperSchemaError as error:
        raise PaperSchemaError(f"{where}: {error}; fetch the file again") from error
    return metadata


def _members(scanner: JsonScanner) -> Iterator[tuple[str, Any]]:
    """Yield paper id and paper; the id is the key, not the field `paper_id`: the label files refer to the key."""
    seen: set[str] = set()
    for key in scanner.members():
        paper_id = key.strip()
        if not paper_id or not _is_unicode(paper_id):
            raise PaperSchemaError(f"the paper id {key!a} is empty or not valid Unicode")
        if paper_id in seen:
            raise PaperSchemaError(f"the paper id {paper_id} occurs twice")
        seen.add(paper_id)
        yield paper_id, scanner.value()
    if scanner.peek():
        raise PaperSchemaError("expected one JSON object, paper id -> paper; more follows it")


def _judge(paper: Any, english: EnglishFilter | None) -> tuple[str, str] | Drop:
    """Return a paper's title and abstract, or why it is left out."""
    if isinstance(paper, UnreadableValue):
        return Drop(reason="malformed_record", detail=paper.detail)
    if not isinstance(paper, dict):
        return Drop(reason="malformed_record", detail=f"expected a JSON object, got {json.dumps(paper)[:80]}")
    title, abstract = paper.get("title"), paper.get("abstract")
    for name, value in (("title", title), ("abstract", abstract)):
        if not isinstance(value, str | None):
            return Drop(
                reason="malformed_record",
                detail=f"{name} should be text, got {json.dumps(value, ensure_ascii=False)[:80]}",
            )
        if value and not _is_unicode(value):
            return Drop(reason="malformed_record", detail=f"{name} is not valid Unicode")
    if title is None or is_missing(title):
        return Drop(reason="missing_title")
    if abstract is None or is_missing(abstract):
        return Drop(reason="missing_abstract")
    # Joined as the nightly job joins them, so that training and nights agree on what is English.
    if english is not None and (language := english.foreign_language(f"{title} {abstract}")):
        return Drop(reason="not_english", detail=language)
    return title, abstract


def _is_unicode(text: str) -> bool:
    """Say whether a text can be written as UTF-8: half a surrogate pair, or a byte that was no UTF-8, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
