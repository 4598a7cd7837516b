"""The arXiv metadata snapshot: one JSON object a line, wrapped texts, withdrawn papers."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from specter_jobs.dumps.json_records import id_of, read_json_lines
from specter_jobs.dumps.json_values import DETAIL_CHARACTERS, JsonObject, as_id, as_text, as_version, require_keys
from specter_jobs.dumps.readers.markup import plain_text
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions

# Archives that arXiv closed, and the categories that replaced them (https://arxiv.org/category_taxonomy). Old papers
# still have the old names, and a classifier must not learn cmp-lg and cs.CL as two classes.
SUBSUMED = {
    "acc-phys": "physics.acc-ph",
    "adap-org": "nlin.AO",
    "alg-geom": "math.AG",
    "ao-sci": "physics.ao-ph",
    "atom-ph": "physics.atom-ph",
    "bayes-an": "physics.data-an",
    "chao-dyn": "nlin.CD",
    "chem-ph": "physics.chem-ph",
    "cmp-lg": "cs.CL",
    "comp-gas": "nlin.CG",
    "dg-ga": "math.DG",
    "funct-an": "math.FA",
    "mtrl-th": "cond-mat.mtrl-sci",
    "patt-sol": "nlin.PS",
    "plasm-ph": "physics.plasm-ph",
    "q-alg": "math.QA",
    "solv-int": "nlin.SI",
    "supr-con": "cond-mat.supr-con",
}

# The snapshot has no field for a withdrawal: authors write it in the comments or in place of the abstract. The text
# must be about this paper, so that a paper about withdrawn drugs, or a new version of a withdrawn paper, is kept.
_IT = (
    r"(?<!earlier )(?<!previous )(?<!prior )(?<!first )(?<!another )"
    r"\b(?:paper|article|manuscript|submission|preprint|work)"
)
_IS = (
    r"(?:(?:has|have) (?:also |now )?been|is being|is|was|will be|has to be|had to be)"
    r" (?:\w+ly |now |hereby )?"
)
_AUTHORS = (
    r"\b(?:authors?|we|i) (?:(?:has|have) withdrawn|(?:hereby )?withdraws?)"
    r" (?:this|the|our|my) (?:\w+ )?(?:paper|article|manuscript|submission|preprint|version|work)\b"
)
# A paper that was withdrawn from something else, such as a conference, is still in arXiv.
_ELSEWHERE = r"from(?! (?:the |this )?(?:arxiv|archive|e-?print|preprint|server|repository))"
_SAYS_SO = rf"withdrawn\b(?! (?:{_ELSEWHERE}|drugs?|arxiv|\d))"
_IN_COMMENTS = re.compile(
    rf"{_IT} (?:{_IS})?{_SAYS_SO}|(?:^|[.,;:!(\[] ?)(?:\w+ly )?{_SAYS_SO}|{_AUTHORS}", re.IGNORECASE
)
_AS_ABSTRACT = re.compile(
    rf"\W*(?:(?:(?:this|the|our) )?(?:\w+ )?{_IT} (?:\S+ )?{_IS}{_SAYS_SO}"
    rf"|(?:{_IT} )?withdrawn(?: (?:by|due|because)\b|\W*$|[.,;:!])|(?:the )?{_AUTHORS})",
    re.IGNORECASE,
)
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_ID_DATE = re.compile(r"(?:.*/)?(\d\d)(?:0[1-9]|1[0-2])")


class ArxivReader:
    """Reads `arxiv-metadata-oai-snapshot.json`.

    Labels: `archive`, the part of the first category before the dot (`cs`), or `category`, all of it (`cs.CL`).
    """

    name = "arxiv"
    suffixes = (".json", ".jsonl")
    label_choices = ("archive", "category")

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read the snapshot line by line."""
        return read_json_lines(stream, lambda position, value: _paper(position, value, options), identify=id_of("id"))


def _paper(position: int, value: Any, options: ReadOptions) -> PaperRecord:
    record = require_keys(value, ("id", "title", "abstract", "categories"))
    paper_id = as_id(record["id"], "id")
    abstract = plain_text(as_text(record["abstract"], "abstract") or "")
    return PaperRecord(
        paper_id=paper_id,
        title=plain_text(as_text(record["title"], "title") or ""),
        abstract=abstract,
        label=_label(as_text(record["categories"], "categories"), options.label),
        year=_year(record, paper_id),
        position=position,
        version=as_version(record.get("update_date")),
        withdrawn=_withdrawn(as_text(record.get("comments"), "comments"), abstract),
    )


def _label(categories: str | None, wanted: str | None) -> str | None:
    first = next(iter((categories or "").split()), None)
    if wanted is None or first is None:
        return None
    category = SUBSUMED.get(first, first)
    return category.partition(".")[0] if wanted == "archive" else category


def _year(record: JsonObject, paper_id: str | None) -> int | None:
    """Return the year of the first version; `update_date` would give the year of the last version."""
    versions = record.get("versions")
    first = versions[0] if isinstance(versions, list) and versions else None
    created = first.get("created") if isinstance(first, dict) else None
    year = _YEAR.search(created) if isinstance(created, str) else None
    if year:
        return int(year[0])
    dated = _ID_DATE.match(paper_id or "")  # 0704.0001 and hep-th/9901001 begin with year and month
    if dated is None:
        return None
    short = int(dated[1])
    return 1900 + short if short > 90 else 2000 + short


def _withdrawn(comments: str | None, abstract: str | None) -> str | None:
    for text, pattern in ((comments, _IN_COMMENTS.search), (abstract, _AS_ABSTRACT.match)):
        if text and "withdr" in text.lower() and pattern(text := " ".join(text.split())):
            return text[:DETAIL_CHARACTERS]
    return None
