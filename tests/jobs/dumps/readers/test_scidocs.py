import io
import json
from typing import Any

import pytest

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.readers.scidocs import ScidocsReader
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions


def read(data: Any) -> list[PaperRecord | MalformedRecord]:
    text = data if isinstance(data, bytes) else json.dumps(data, indent=2).encode()
    return list(ScidocsReader().read(io.BytesIO(text), ReadOptions()))


def test_each_member_is_a_paper_under_its_key() -> None:
    found = read(
        {
            "a1": {"paper_id": "a1", "title": "T", "abstract": "A", "year": 2010, "authors": [1], "references": []},
            "b2": {"paper_id": "other", "title": "U", "abstract": None, "year": None},
        }
    )
    assert found == [
        PaperRecord(paper_id="a1", title="T", abstract="A", year=2010, position=1),
        PaperRecord(paper_id="b2", title="U", abstract=None, year=None, position=2),
    ]


def test_a_member_that_is_no_paper_costs_itself_only() -> None:
    found = read({"a": [1], "b": {"title": "T"}})
    assert found[0] == MalformedRecord(position=1, detail="expected a JSON object, got a list")
    assert isinstance(found[1], PaperRecord)


def test_half_a_surrogate_pair_is_malformed() -> None:
    found = read(b'{"a": {"paper_id": "a", "title": "\\ud83d"}}')
    assert found == [MalformedRecord(position=1, detail="title is not valid Unicode", paper_id="a")]


def test_bytes_that_are_not_utf8_are_malformed() -> None:
    found = read(b'{"a": {"paper_id": "a", "title": "caf\xe9"}, "b": {"title": "caf\xc3\xa9"}}')
    assert [type(record) for record in found] == [MalformedRecord, PaperRecord]


def test_a_file_that_breaks_off_is_an_error_after_its_papers() -> None:
    whole = json.dumps({"a": {"title": "T"}, "b": {"title": "U"}}).encode()
    reading = ScidocsReader().read(io.BytesIO(whole[:-6]), ReadOptions())
    assert next(reading).paper_id == "a"
    with pytest.raises(PaperSchemaError, match=r"not valid JSON at character \d+: .* or the file breaks off"):
        next(reading)


def test_json_lines_are_not_taken_for_metadata() -> None:
    with pytest.raises(PaperSchemaError, match="expected one JSON object"):
        read(b'{"a": {"title": "T"}}\n{"b": {"title": "T"}}\n')


def test_an_empty_file_has_no_papers() -> None:
    assert read(b" \n") == []
