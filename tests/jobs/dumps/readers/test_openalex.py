import io
import json
from typing import Any

import pytest

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.json_records import json_values
from specter_jobs.dumps.readers.openalex import OpenalexReader
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions

TOPIC = {
    "display_name": "Graph theory",
    "subfield": {"display_name": "Algebra"},
    "field": {"display_name": "Mathematics"},
    "domain": {"display_name": "Physical Sciences"},
}


def work(number: int, **changes: Any) -> dict[str, Any]:
    good = {
        "id": f"https://openalex.org/W{number}",
        "title": f"Title {number}",
        "display_name": f"Title {number}",
        "publication_year": 2020,
        "abstract_inverted_index": {"We": [0], "look": [1, 4], "and": [3], "twice,": [2]},
        "primary_topic": TOPIC,
    }
    return good | changes


def read(data: bytes, label: str | None = None) -> list[PaperRecord | MalformedRecord]:
    return list(OpenalexReader().read(io.BytesIO(data), ReadOptions(label=label)))


def paper(label: str | None = None, **changes: Any) -> PaperRecord:
    (found,) = read(json.dumps(work(1, **changes)).encode(), label)
    assert isinstance(found, PaperRecord)
    return found


def test_an_inverted_index_becomes_the_text_in_word_order() -> None:
    assert paper().abstract == "We look twice, and look"
    assert paper().paper_id == "W1"
    assert paper().year == 2020


@pytest.mark.parametrize("index", [None, {}])
def test_a_missing_abstract_is_null(index: object) -> None:
    assert paper(abstract_inverted_index=index).abstract is None


def test_gaps_and_far_away_positions_in_the_index_close_up() -> None:
    assert paper(abstract_inverted_index={"b": [10**12], "a": [3]}).abstract == "a b"


@pytest.mark.parametrize("index", ['["a"]', ["a"], {"a": 1}, {"a": [None], "b": [1]}])
def test_an_index_of_another_shape_is_malformed(index: object) -> None:
    (found,) = read(json.dumps(work(1, abstract_inverted_index=index)).encode())
    assert isinstance(found, MalformedRecord)
    assert found.detail == "abstract_inverted_index should map words to lists of positions"
    assert found.paper_id == "W1"


@pytest.mark.parametrize(
    ("label", "value"),
    [
        (None, None),
        ("primary_topic", "Graph theory"),
        ("primary_topic.subfield", "Algebra"),
        ("primary_topic.field", "Mathematics"),
        ("primary_topic.domain", "Physical Sciences"),
    ],
)
def test_the_label_is_the_primary_topic_at_the_level_asked_for(label: str | None, value: str | None) -> None:
    assert paper(label).label == value
    assert paper(label, primary_topic=None).label is None


def test_the_display_name_stands_in_for_a_missing_title() -> None:
    assert paper(title=None).title == "Title 1"


PAGE = {"meta": {"count": 3, "next_cursor": "a]b}"}, "results": [work(1), {"id": "A7"}, work(3)], "group_by": []}
AUTHOR = MalformedRecord(position=2, detail="no field title; its fields are id", paper_id="A7")


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(PAGE),
        json.dumps(PAGE, indent=1),
        json.dumps(PAGE, indent=2).replace('"meta"', '\n\n "meta"'),
        json.dumps(PAGE["results"]),
        json.dumps(PAGE["results"], indent=1),
        "\n".join(json.dumps(item) for item in PAGE["results"]),
        "\ufeff" + json.dumps(PAGE, indent=1),
    ],
    ids=["page", "indented page", "page with blank lines", "list", "indented list", "lines", "with a BOM"],
)
def test_works_are_read_from_lines_pages_and_lists_however_they_were_saved(data: str) -> None:
    found = read(data.encode())
    assert [record.paper_id for record in found] == ["W1", "A7", "W3"]
    assert [record.position for record in found] == [1, 2, 3]
    assert found[1] == AUTHOR


def test_pages_one_after_another_are_all_read() -> None:
    second = PAGE | {"results": [work(4)]}
    for indent, between in ((None, "\n"), (1, "")):
        data = json.dumps(PAGE, indent=indent) + between + json.dumps(second, indent=indent)
        assert [record.position for record in read(data.encode())] == [1, 2, 3, 4]


def test_the_id_of_something_else_is_malformed() -> None:
    (found,) = read(json.dumps(work(1, id="https://openalex.org/A1")).encode())
    assert isinstance(found, MalformedRecord)
    assert found.detail == "A1 is not the id of a work"


def test_a_broken_first_line_costs_itself_only() -> None:
    found = read(b'{"id": "https://openalex.org/W1", "ti\n' + json.dumps(work(2)).encode())
    assert isinstance(found[0], MalformedRecord)
    assert isinstance(found[1], PaperRecord)
    assert found[1].position == 2


def test_an_empty_file_has_no_works() -> None:
    assert read(b"") == []
    assert list(json_values(io.BytesIO(b"\n \n"))) == []


def test_titles_and_abstracts_lose_their_mark_up() -> None:
    index = {"Abstract:": [0], "We": [1], "find": [2], "<i>p</i>": [3], "&lt;": [4], "0.05": [5]}
    found = paper(title="Of <i>Mus</i> &amp; x<y", abstract_inverted_index=index)
    assert (found.title, found.abstract) == ("Of Mus & x<y", "We find p < 0.05")


def test_words_that_share_a_place_are_all_kept_and_other_forms_of_the_index_are_read() -> None:
    assert paper(abstract_inverted_index={"a": [0], "b": [0], "c": [1]}).abstract == "a b c"
    assert paper(abstract_inverted_index=json.dumps({"b": [1], "a": [0]})).abstract == "a b"
    assert paper(abstract_inverted_index={"IndexLength": 2, "InvertedIndex": {"b": [1], "a": [0]}}).abstract == "a b"


def test_a_later_update_is_a_newer_version() -> None:
    dates = [None, "soon", "2025-01-01", "2025-01-01T10:00:00.5", "2025-01-01T11:00:00+00:00", "2026-02-02"]
    versions = [paper(updated_date=date).version for date in dates]
    assert versions == sorted(versions)
    assert versions[0] == versions[1] == 1
    assert len(set(versions)) == len(versions) - 1


@pytest.mark.parametrize("indent", [None, 1])
def test_a_reply_that_reports_an_error_fails_its_file(indent: int | None) -> None:
    reply = json.dumps({"error": "Rate limit exceeded", "message": "Try tomorrow"}, indent=indent)
    for data in (reply, f"{json.dumps(PAGE, indent=indent)}\n{reply}"):
        with pytest.raises(PaperSchemaError, match="reports an error \\(Rate limit exceeded: Try tomorrow"):
            read(data.encode())
