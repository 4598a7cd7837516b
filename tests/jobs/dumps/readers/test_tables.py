import io

import pytest

from specter_batch.errors import PaperSchemaError, WrongFormatError
from specter_batch.papers.columns import PaperColumns
from specter_jobs.dumps.readers.csv import CsvReader
from specter_jobs.dumps.readers.jsonl import JsonlReader
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions, TableColumns

FIRST = PaperRecord(paper_id="1", title="T", abstract="A", label="x", year=2020, position=1)


def jsonl(data: str, columns: TableColumns | None = None) -> list[PaperRecord | MalformedRecord]:
    return list(JsonlReader(columns or TableColumns()).read(io.BytesIO(data.encode()), ReadOptions()))


def csv(data: str, columns: TableColumns | None = None) -> list[PaperRecord | MalformedRecord]:
    return list(CsvReader(columns or TableColumns()).read(io.BytesIO(data.encode()), ReadOptions()))


def named(**names: str) -> TableColumns:
    year = names.pop("year", None)
    return TableColumns(papers=PaperColumns(**names), year=year)


def test_json_fields_are_found_by_name() -> None:
    assert jsonl('{"id": 1, "title": "T", "abstract": "A", "labels": ["x"], "publication_year": "2020"}') == [FIRST]


def test_json_fields_can_be_named() -> None:
    columns = named(paper_id="key", title="name", abstract="text", label="kind", year="y")
    assert jsonl('{"key": "1", "id": 7, "name": "T", "text": "A", "kind": "x", "y": 2020}', columns) == [FIRST]


def test_absent_json_fields_are_null_but_id_and_title_are_missed() -> None:
    found = jsonl('{"id": 1, "title": "T"}\n{"id": 2}\n{"title": "T"}')
    assert found[0] == PaperRecord(paper_id="1", title="T", abstract=None, position=1)
    assert found[1] == MalformedRecord(
        position=2, detail="no field title; its fields are id; name it with --title-column", paper_id="2"
    )
    assert isinstance(found[2], MalformedRecord)
    assert found[2].detail.endswith("name it with --paper-id-column")


def test_a_named_json_field_that_no_record_has_is_a_wrong_name() -> None:
    with pytest.raises(WrongFormatError, match="no record has a field body"):
        jsonl('{"id": 1, "title": "T"}\n' * 3, named(abstract="body"))
    with pytest.raises(WrongFormatError, match="no record has a field body"):
        jsonl('{"id": 1, "title": "T"}\n' * 300, named(abstract="body"))
    assert len(jsonl('{"id": 1, "title": "T"}\n{"id": 2, "title": "T", "body": "A"}', named(abstract="body"))) == 2


@pytest.mark.parametrize("mark", [",", "\t", ";"])
def test_csv_is_read_with_the_delimiter_its_header_has(mark: str) -> None:
    assert csv("id,title,abstract,label,year\n1,T,A,x,2020\n".replace(",", mark)) == [FIRST]


def test_csv_columns_can_be_named_and_others_are_passed_over() -> None:
    columns = named(paper_id="key", title="name", abstract="text", label="kind", year="y")
    assert csv("a,key,name,text,kind,y\n9,1,T,A,x,2020\n", columns) == [FIRST]


def test_quoted_csv_values_hold_line_breaks_delimiters_and_quotes() -> None:
    found = csv('\ufeffid,title,abstract\r\n1,"one, ""two""\nthree",\r\n2,,""\r\n')
    assert found == [
        PaperRecord(paper_id="1", title='one, "two"\nthree', abstract=None, position=1),
        PaperRecord(paper_id="2", title=None, abstract=None, position=2),
    ]


def test_uneven_csv_rows_are_malformed_at_their_place() -> None:
    found = csv("id,title,abstract\n1,T,A\n2,T\n3,T,A,B\n4,T,A\n5\n")
    assert [(record.position, type(record)) for record in found] == [
        (1, PaperRecord),
        (2, MalformedRecord),
        (3, MalformedRecord),
        (4, PaperRecord),
        (5, MalformedRecord),
    ]
    assert found[1] == MalformedRecord(position=2, detail="2 values in a row of 3 columns")


def test_positions_count_rows_that_are_rejected_too() -> None:
    lines = ["id,title,abstract"] + [f"{n},T" if n % 7 == 0 else f"{n},T,A{n}" for n in range(1, 200)]
    found = csv("\n".join(lines))
    assert [record.position for record in found] == list(range(1, 200))
    for record in found:
        assert isinstance(record, MalformedRecord) == (record.position % 7 == 0)
        if isinstance(record, PaperRecord):
            assert record.paper_id == str(record.position)


def test_a_csv_without_a_column_names_the_option() -> None:
    with pytest.raises(PaperSchemaError, match=r"no column for abstract: .* got id, title; name it with"):
        csv("id,title\n1,T\n")
    with pytest.raises(PaperSchemaError, match=r"no column when, got id, title, abstract; name the right one"):
        csv("id,title,abstract\n1,T,A\n", named(year="when"))


@pytest.mark.parametrize("data", ["", "id,title,abstract\n"])
def test_a_csv_without_rows_has_no_papers(data: str) -> None:
    assert csv(data) == []


def test_json_lines_of_another_encoding_name_the_option() -> None:
    (found,) = JsonlReader(TableColumns()).read(io.BytesIO('{"id": 1, "title": "Öl"}'.encode("cp1252")), ReadOptions())
    assert isinstance(found, MalformedRecord)
    assert found.detail.endswith("if the file has another encoding, name it, for example --encoding cp1252")


@pytest.mark.parametrize("rounded", ["1.23457E+11", "1,23457E+11", "1E+11", "1.23457e+11", "9.9E+100"])
def test_an_id_that_a_spreadsheet_has_rounded_is_rejected(rounded: str) -> None:
    found = csv(f"id\ttitle\tabstract\n{rounded}\tT\tA\n2\tT\tA\n")
    assert isinstance(found[0], MalformedRecord)
    assert (found[0].reason, found[0].paper_id) == ("id_rounded", rounded)
    assert f"the id {rounded} was rounded" in found[0].detail
    assert isinstance(found[1], PaperRecord)


@pytest.mark.parametrize("kept", ["1E5", "12E+11", "E+11", "1.5", "1.23457E-11", "10.1000/1.2E+11", "W1E+11"])
def test_an_id_that_only_resembles_a_rounded_number_is_kept(kept: str) -> None:
    assert csv(f"id\ttitle\tabstract\n{kept}\tT\tA\n")[0] == PaperRecord(
        paper_id=kept, title="T", abstract="A", position=1
    )
