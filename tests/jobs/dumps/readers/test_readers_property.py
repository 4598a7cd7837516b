"""Random records in random layouts through every reader: ids, texts, years and counts are those computed by hand."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.inputs import InputCount
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.readers.s2ag import join_s2ag
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions

# Letters, white space of all kinds, signs of mark-up that are none, characters beyond 16 bits, and what JSON escapes.
CHARACTERS = st.sampled_from("aZ9é中😀 \t\n\u00a0\u2028<>&;=/\"'\\{}[],:.$^_")
MARK_UP = re.compile(r"<[/!?a-z]|&[a-z#]", re.IGNORECASE)
TEXTS = st.text(CHARACTERS, min_size=1, max_size=30).filter(lambda text: not MARK_UP.search(text))
LONG_NUMBER = "a number of 5,000 digits"
# What a record may hold besides, which no reader needs.
OTHERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from(["\ud800", LONG_NUMBER]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.lists(st.integers(1, 10**6), min_size=1, max_size=6, unique=True)
YEARS = st.none() | st.integers(1, 9999)


def year_as_written(year: int | None) -> st.SearchStrategy[Any]:
    """Return the ways in which a year is written."""
    if year is None:
        return st.sampled_from([None, "", "soon", float("nan"), True, [], -3])
    day = f"{year:04d}-05-17"
    return st.sampled_from([year, float(year), f"{year}", f" {year}.0 ", day, f"{day}T08:00:00Z"])


def dumps(value: Any, indent: int | None = None, ascii_only: bool = True) -> bytes:
    """Write JSON as any writer does, with numbers that Python refuses to write."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).replace(f'"{LONG_NUMBER}"', "7" * 5_000)
    return text.encode(errors="surrogatepass")


def one_line(text: str | None) -> str | None:
    return " ".join((text or "").split()) or None


def as_is(text: str | None) -> str | None:
    return text


@dataclass(frozen=True)
class Shape:
    """A JSON format: how a paper is written, the replies that hold records, and how its reader treats white space."""

    write: Callable[[int, str, str | None, Any], dict[str, Any]]
    paper_id: Callable[[int], str]
    text: Callable[[str | None], str | None] = one_line
    reply: Callable[[list[Any]], Any] | None = None
    broken: dict[str, Any] = field(default_factory=dict)


def inverted(text: str | None) -> dict[str, list[int]] | None:
    if text is None:
        return None
    index: dict[str, list[int]] = {}
    for place, word in enumerate(text.split(" ")):
        index.setdefault(word, []).append(place)
    return index


SHAPES = {
    "openalex": Shape(
        write=lambda n, title, abstract, year: {
            "id": f"https://openalex.org/W{n}",
            "title": title,
            "abstract_inverted_index": inverted(abstract),
            "publication_year": year,
        },
        paper_id=lambda n: f"W{n}",
        reply=lambda works: {"meta": {"count": len(works), "next": "]}"}, "results": works, "group_by": []},
        broken={"title": 5},
    ),
    "crossref": Shape(
        write=lambda n, title, abstract, year: {
            "DOI": f"https://doi.org/10.5555/A{n}",
            "title": [title],
            "abstract": abstract,
            "issued": {"date-parts": [[year]]},
        },
        paper_id=lambda n: f"10.5555/a{n}",
        reply=lambda works: {"status": "ok", "message-type": "work-list", "message": {"facets": {}, "items": works}},
        broken={"abstract": 5},
    ),
    "arxiv": Shape(
        write=lambda n, title, abstract, year: {
            "id": f"math/{n:07d}", "title": title, "abstract": abstract, "categories": "cs.CL",
            "versions": [], "year": year,
        },
        paper_id=lambda n: f"math/{n:07d}",
        broken={"abstract": []},
    ),
    "s2orc": Shape(
        write=lambda n, title, abstract, year: {
            "paper_id": float(n), "title": title, "abstract": abstract, "year": year,
        },
        paper_id=str,
        text=lambda text: None if text is None else re.sub(r"(?:\s*:::)+\s*", "\n", text),
        broken={"title": {}},
    ),
    "scidocs": Shape(
        write=lambda n, title, abstract, year: {
            "paper_id": str(n), "title": title, "abstract": abstract, "year": year,
        },
        paper_id=lambda n: f"{n:040x}",
        text=as_is,
        broken={"title": {}},
    ),
    "s2ag": Shape(
        write=lambda n, title, abstract, year: {
            "corpusid": n, "title": title, "abstract": abstract, "year": year,
        },
        paper_id=str,
        broken={"title": {}},
    ),
    "jsonl": Shape(
        write=lambda n, title, abstract, year: {
            "paper_id": float(n), "title": title, "abstract": abstract, "year": year,
        },
        paper_id=str,
        text=as_is,
        broken={"title": {}},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What a reader should yield for a record; `title` is None for one that cannot be parsed."""

    paper_id: str
    title: str | None
    abstract: str | None
    year: int | None


@st.composite
def records(draw: st.DrawFn, shape: Shape) -> tuple[list[dict[str, Any]], list[Expected]]:
    written, expected = [], []
    for number in draw(NUMBERS):
        title, abstract, year = draw(TEXTS), draw(st.none() | TEXTS), draw(YEARS)
        record = shape.write(number, title, abstract, draw(year_as_written(year)))
        record |= {f"other {key}": value for key, value in draw(st.dictionaries(TEXTS, OTHERS, max_size=2)).items()}
        if draw(st.booleans()) and draw(st.booleans()):
            record |= shape.broken
            expected.append(Expected(shape.paper_id(number), None, None, None))
        else:
            expected.append(Expected(shape.paper_id(number), shape.text(title), shape.text(abstract), year))
        written.append(dict(draw(st.permutations(list(record.items())))))
    return written, expected


@st.composite
def layouts(draw: st.DrawFn, shape: Shape, written: list[dict[str, Any]]) -> bytes:
    """Write records as lines, as a list, or as replies, with indents or without, with or without a BOM."""
    indent, ascii_only = draw(st.sampled_from([None, 0, 2])), draw(st.booleans())
    ascii_only = ascii_only or "\\ud800" in json.dumps(written)
    kind = draw(st.sampled_from(["values", "list"] + (["reply", "replies", "list of replies"] if shape.reply else [])))
    values: list[Any] = written
    if kind == "list":
        values = [written]
    elif kind == "reply" and shape.reply:
        values = [shape.reply(written)]
    elif shape.reply and kind != "values":
        values = [shape.reply(written[at : at + 2]) for at in range(0, len(written), 2)]
        values = [values] if kind == "list of replies" else values
    between = draw(st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
    data = between.join(dumps(value, indent, ascii_only) for value in values)
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + data + draw(st.sampled_from([b"", between]))


def read(name: Any, data: bytes) -> list[PaperRecord | MalformedRecord]:
    return list(Format(name=name).reader().read(io.BytesIO(data), ReadOptions()))


def seen(record: PaperRecord | MalformedRecord, *, with_year: bool = True) -> Expected:
    if isinstance(record, MalformedRecord):
        return Expected(str(record.paper_id), None, None, None)
    return Expected(str(record.paper_id), record.title, record.abstract, record.year if with_year else None)


# Of these formats a record is not a value of its own, or its abstract comes from another file: tests of their own.
OF_LINES = [name for name in SHAPES if name not in ("scidocs", "s2ag")]


@pytest.mark.parametrize("name", OF_LINES)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_whatever_the_layout_the_papers_are_those_that_were_written(name: str, data: st.DataObject) -> None:
    shape = SHAPES[name]
    written, expected = data.draw(records(shape))
    found = read(name, data.draw(layouts(shape, written)))
    if name == "arxiv":  # its years are those of its ids and versions
        expected = [Expected(e.paper_id, e.title, e.abstract, None) for e in expected]
    assert [seen(record, with_year=name != "arxiv") for record in found] == expected
    positions = [record.position for record in found]
    assert positions == sorted(set(positions))


@pytest.mark.parametrize("name", [name for name in OF_LINES if name != "jsonl"])
@settings(deadline=None, max_examples=60)
@given(data=st.data(), junk=st.sampled_from(["cut", "{}}", '{"a": ', "nonsense", "null", "7", '"text"', "{]"]))
def test_a_line_of_junk_costs_itself_only(name: str, data: st.DataObject, junk: str) -> None:
    shape = SHAPES[name]
    written, expected = data.draw(records(shape))
    lines = [dumps(record) for record in written]
    at = data.draw(st.integers(0, len(lines)))
    found = read(name, b"\n".join([*lines[:at], junk.encode(), *lines[at:]]))
    assert isinstance(found[at], MalformedRecord)
    assert [seen(record).paper_id for record in found[:at] + found[at + 1 :]] == [e.paper_id for e in expected]


@pytest.mark.parametrize("name", ["openalex", "crossref"])
@settings(deadline=None, max_examples=60)
@given(data=st.data(), indent=st.sampled_from([None, 1]))
def test_a_reply_that_breaks_off_fails_its_file(name: str, data: st.DataObject, indent: int | None) -> None:
    shape = SHAPES[name]
    written, _ = data.draw(records(shape))
    assert shape.reply is not None
    whole = dumps(shape.reply(written), indent)
    begin = whole.index(b'"results"' if name == "openalex" else b'"message"')
    cut = data.draw(st.integers(begin + 12, len(whole) - 1))
    with pytest.raises(PaperSchemaError):
        read(name, whole[:cut])


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), indent=st.sampled_from([None, 0, 2]), bom=st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_scidocs_gives_the_members_of_the_object_whatever_the_layout(
    data: st.DataObject, indent: int | None, bom: bytes
) -> None:
    written, expected = data.draw(records(SHAPES["scidocs"]))
    members = {record.paper_id: value for record, value in zip(expected, written, strict=True)}
    ascii_only = data.draw(st.booleans()) or "\\ud800" in json.dumps(written)
    whole = dumps(members, indent, ascii_only)
    assert [seen(record) for record in read("scidocs", bom + whole)] == expected
    with pytest.raises(PaperSchemaError):
        read("scidocs", whole[: data.draw(st.integers(1, len(whole) - 1))])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), bucket_ids=st.sampled_from([1, 7, 1 << 18]), gathered=st.sampled_from([1, 500, 1 << 20]))
def test_s2ag_joins_whatever_the_files_and_the_order_of_lines(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, bucket_ids: int, gathered: int
) -> None:
    folder = tmp_path_factory.mktemp("s2ag")
    written, expected = data.draw(records(SHAPES["s2ag"]))
    papers: list[Any] = []
    abstracts: list[Any] = [{"corpusid": 0, "abstract": "of no paper"}]
    for record in written:
        apart = data.draw(st.booleans())  # the abstract comes from the other dataset, as in releases since 2022
        papers.append({name: value for name, value in record.items() if not (apart and name == "abstract")})
        if apart and record["abstract"] is not None:
            abstracts.append({"corpusid": record["corpusid"], "abstract": record["abstract"]})
    paths: dict[str, list[Path]] = {}
    for kind, values in (("papers", papers), ("abstracts", abstracts)):
        lines = [dumps(value) for value in data.draw(st.permutations(values))]
        cut = data.draw(st.integers(0, len(lines)))
        paths[kind] = []
        for number, part in enumerate((lines[:cut], lines[cut:])):
            paths[kind].append(folder / f"{kind}{number}.jsonl")
            paths[kind][-1].write_bytes(b"".join(line + b"\n" for line in part))
    scratch = folder / "scratch"
    scratch.mkdir()
    joined = join_s2ag(
        paths["papers"],
        paths["abstracts"],
        scratch,
        ReadOptions(),
        InputCount(),
        bucket_ids=bucket_ids,
        gathered_characters=gathered,
    )
    found = [seen(record) for record in joined]
    whole = [  # of an abstract, white space within it is kept
        replace(one, abstract=(record["abstract"] or "").strip() or None)
        for one, record in zip(expected, written, strict=True)
        if record["title"] != {}
    ]
    whole.sort(key=lambda one: int(one.paper_id))
    broken = sorted(str(record["corpusid"]) for record in written if record["title"] == {})
    assert found[: len(whole)] == whole
    assert sorted(one.paper_id for one in found[len(whole) :]) == broken
    assert list(scratch.iterdir()) == []


def xml_of(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@settings(deadline=None, max_examples=100)
@given(
    numbers=NUMBERS,
    texts=st.lists(TEXTS, min_size=6, max_size=6),
    marks=st.lists(st.sampled_from(["i", "b", "sub", "sup", "u"]), min_size=6, max_size=6),
    encoding=st.sampled_from(["utf-8", "utf-16", "us-ascii"]),
)
def test_pubmed_gives_what_lxml_sees(numbers: list[int], texts: list[str], marks: list[str], encoding: str) -> None:
    citations = "".join(
        f"<PubmedArticle><MedlineCitation><PMID>{n}</PMID><Article><ArticleTitle>T {xml_of(text)}<{mark}>x</{mark}> end"
        f"</ArticleTitle><Abstract><AbstractText>A {xml_of(text)}</AbstractText></Abstract></Article></MedlineCitation>"
        f"</PubmedArticle><DeleteCitation><PMID>{n}</PMID></DeleteCitation>"
        for n, text, mark in zip(numbers, texts, marks, strict=False)
    )
    source = f'<?xml version="1.0" encoding="{encoding}"?><PubmedArticleSet>{citations}</PubmedArticleSet>'
    data = source.encode(encoding, errors="xmlcharrefreplace")
    tree = etree.fromstring(data)
    found = read("pubmed", data)
    papers = [record for record in found if isinstance(record, PaperRecord) and not record.deleted]
    assert [record.deleted for record in found if isinstance(record, PaperRecord)] == [False, True] * len(numbers)
    assert [paper.paper_id for paper in papers] == [str(n) for n in numbers]
    for kind, tag in (("title", "ArticleTitle"), ("abstract", "AbstractText")):
        texts_seen = [" ".join("".join(element.itertext()).split()) for element in tree.iter(tag)]
        assert [getattr(paper, kind) for paper in papers] == texts_seen
