import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.json_records import HEAD_BYTES
from specter_jobs.dumps.readers.crossref import CrossrefReader
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions
from support.dumps.on_disk import StreamOfParts


def work(number: int = 1, **values: Any) -> dict[str, Any]:
    found = {"indexed": {"date-parts": [[2024, 1, 1]]}, "DOI": f"10.5555/A{number}", "title": [f"Title {number}"]}
    found |= {"type": "journal-article", "published": {"date-parts": [[2020, 5]]}, "reference": [{"key": "items"}]}
    return found | values


def read(content: Any, label: str | None = None) -> list[PaperRecord | MalformedRecord]:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    data = text if isinstance(text, bytes) else text.encode()
    return list(CrossrefReader().read(io.BytesIO(data), ReadOptions(label=label)))


def paper(label: str | None = None, **values: Any) -> PaperRecord:
    (record,) = read([work(**values)], label)
    assert isinstance(record, PaperRecord)
    return record


WORKS = [work(n) for n in range(1, 6)]
PAPERS = [
    PaperRecord(paper_id=f"10.5555/a{n}", title=f"Title {n}", abstract=None, year=2020, position=n, version=1)
    for n in range(1, 6)
]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"items": WORKS}, id="data file"),
        pytest.param(json.dumps({"items": WORKS}, indent=2), id="data file with indents"),
        pytest.param(json.dumps({"items": WORKS}, indent=2).replace('":', '" :'), id="data file with blanks"),
        pytest.param(WORKS, id="list"),
        pytest.param("".join(json.dumps(w) + "\n" for w in WORKS), id="lines"),
        pytest.param("\ufeff" + "\r\n".join(json.dumps(w) for w in WORKS), id="lines of another system"),
        pytest.param("\n".join(json.dumps(w, indent=1) for w in WORKS), id="works with indents"),
        pytest.param({"status": "ok", "message": {"facets": {}, "items": WORKS, "total-results": 5}}, id="reply"),
        pytest.param({"message": {"items": WORKS}, "message-type": "work-list", "status": "ok"}, id="sorted reply"),
        pytest.param(
            "\n".join(json.dumps({"status": "ok", "message": {"items": part}}) for part in (WORKS[:2], WORKS[2:])),
            id="replies one a line",
        ),
        pytest.param(
            "\n".join(json.dumps({"status": "ok", "message-type": "work", "message": w}) for w in WORKS),
            id="replies of one work each",
        ),
    ],
)
def test_every_layout_gives_the_same_papers(content: Any) -> None:
    assert read(content) == PAPERS


def test_a_layout_is_told_even_when_the_first_work_is_longer_than_what_is_looked_at() -> None:
    long = work(1, abstract="word " * HEAD_BYTES)
    for content in ({"items": [long, work(2)]}, "\n".join(map(json.dumps, (long, work(2))))):
        assert [record.paper_id for record in read(content)] == ["10.5555/a1", "10.5555/a2"]


def test_empty_files_and_lists_hold_no_papers() -> None:
    assert read("") == read("\n\n") == read({"items": []}) == read([]) == read({"message": {"items": []}}) == []


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        (["First", "Second"], "First"),
        (["", " ", "Third"], "Third"),
        ([], None),
        (None, None),
        ([None, "Second"], "Second"),
        ("A bare title", "A bare title"),
        (["Fish &amp; <i>chips</i>\n  for\ttwo"], "Fish & chips for two"),
        (["On CO<sub>2</sub>, if p < 0.05"], "On CO2, if p < 0.05"),
    ],
)
def test_the_title_is_the_first_that_is_not_empty(title: Any, expected: str | None) -> None:
    assert paper(title=title).title == expected


@pytest.mark.parametrize(
    ("abstract", "expected"),
    [
        ("<jats:title>Abstract</jats:title><jats:p>We &amp; they.</jats:p>", "We & they."),
        ("<jats:sec><jats:title>Aims</jats:title><jats:p>Why.</jats:p></jats:sec>", "Aims: Why."),
        ("<jats:p />", None),
        ("", None),
        (None, None),
        ("No mark-up at all.", "No mark-up at all."),
    ],
)
def test_the_abstract_loses_its_mark_up(abstract: Any, expected: str | None) -> None:
    assert paper(abstract=abstract).abstract == expected


@pytest.mark.parametrize(
    "doi", ["10.5555/AbC", "https://doi.org/10.5555/ABC", "http://dx.doi.org/10.5555/abc", "doi:10.5555/abc"]
)
def test_the_doi_is_the_id_in_lower_case(doi: str) -> None:
    assert paper(DOI=doi).paper_id == "10.5555/abc"


@pytest.mark.parametrize(
    ("dates", "year"),
    [
        ({"published": {"date-parts": [[2002, 7, 28]]}, "issued": {"date-parts": [[2003]]}}, 2002),
        ({"published": None, "issued": {"date-parts": [[2003]]}}, 2003),
        ({"published": {"date-parts": [[None]]}, "issued": {"date-parts": [["2003"]]}}, 2003),
        ({"published": {}, "published-online": {"date-parts": [[1999]]}}, 1999),
        ({"published": {"date-parts": []}}, None),
        ({"published": {"date-parts": [[None]]}, "created": {"date-parts": [[2010]]}}, None),
    ],
)
def test_the_year_is_that_of_the_first_date_that_is_known(dates: dict[str, Any], year: int | None) -> None:
    assert paper(**dates).year == year


def test_the_label_is_the_type_or_the_only_subject_on_request() -> None:
    assert paper(subject=["Oncology"]).label is None
    assert paper("type").label == "journal-article"
    assert paper("subject", subject=["Oncology"]).label == "Oncology"
    assert paper("subject", subject=["Oncology", "Oncology"]).label == "Oncology"
    assert paper("subject", subject=["Oncology", "Surgery"]).label is None
    assert paper("subject", subject=[]).label is None
    assert paper("subject").label is None


@pytest.mark.parametrize(
    ("bad", "detail", "paper_id"),
    [
        (["no", "object"], "expected a JSON object, got a list", None),
        ({"title": ["No DOI"]}, "no field DOI", None),
        (work(2, title=[{"x": 1}]), "title should be text", "10.5555/a2"),
        (work(2, abstract=7), "abstract should be text", "10.5555/a2"),
    ],
)
@pytest.mark.parametrize("layout", ["items", "lines"])
def test_a_malformed_work_costs_only_itself(layout: str, bad: Any, detail: str, paper_id: str | None) -> None:
    works = [work(1), bad, work(3)]
    records = read({"items": works} if layout == "items" else "\n".join(map(json.dumps, works)))
    assert [(r.position, r.paper_id) for r in records] == [(1, "10.5555/a1"), (2, paper_id), (3, "10.5555/a3")]
    assert isinstance(records[1], MalformedRecord)
    assert records[1].detail.startswith(detail)


@pytest.mark.parametrize("bad", ['{"DOI": "10.5555/x", "title": ["cut', "{}}", "garbage", '{"DOI": "\\ud800"}'])
def test_a_line_that_is_no_json_costs_only_itself_even_the_first(bad: str) -> None:
    lines = [bad, json.dumps(work(2)), "", json.dumps(work(4))]
    records = read("\n".join(lines))
    assert [(r.position, type(r)) for r in records] == [(1, MalformedRecord), (2, PaperRecord), (4, PaperRecord)]


def test_bytes_that_are_not_utf8_make_their_work_malformed() -> None:
    raw = json.dumps({"items": [work(1, title=["caf?"]), work(2)]}).encode().replace(b"caf?", b"caf\xe9")
    first, second = read(raw)
    assert isinstance(first, MalformedRecord)
    assert second.paper_id == "10.5555/a2"


def test_a_data_file_that_breaks_off_fails_after_giving_what_it_has() -> None:
    text = json.dumps({"items": WORKS})
    records = CrossrefReader().read(io.BytesIO(text[: text.index("Title 3")].encode()), ReadOptions())
    assert [record.paper_id for record in itertools.islice(records, 2)] == ["10.5555/a1", "10.5555/a2"]
    with pytest.raises(PaperSchemaError, match="breaks off"):
        next(records)


def test_an_answer_without_works_says_what_it_says() -> None:
    refusal = {
        "status": "failed",
        "message-type": "validation-failure",
        "message": [{"value": "x", "message": "bad filter"}],
    }
    with pytest.raises(PaperSchemaError, match=r"a reply without works, which says bad filter"):
        read(refusal)


def items(n_works: int) -> Iterator[bytes]:
    """Yield a data file of works, part by part."""
    yield b'{"items": ['
    for number in range(n_works):
        yield (", " if number else "").encode() + json.dumps(work(number, abstract="word " * 1_000)).encode()
    yield b"]}"


def test_memory_does_not_grow_with_the_file() -> None:
    resource = pytest.importorskip("resource", reason="peak memory is only known on Unix")

    def peak_growth(n_works: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        stream = io.BufferedReader(StreamOfParts(items(n_works)))
        assert sum(1 for _ in CrossrefReader().read(stream, ReadOptions())) == n_works
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

    peak_growth(1_000)
    assert peak_growth(20_000) < 32 << 10  # kB; the file has 100 MB
