import io
from typing import Any

import pytest

from specter_jobs.dumps.json_records import json_values
from specter_jobs.dumps.json_values import (
    DETAIL_CHARACTERS,
    FieldError,
    as_id,
    as_text,
    as_year,
    require_keys,
    single,
)
from specter_jobs.dumps.records import MalformedRecord


def read(data: bytes, **sizes: int) -> list[tuple[int, Any]]:
    return list(json_values(io.BytesIO(data), **sizes))


def test_empty_lines_count_and_are_passed_over() -> None:
    assert read(b'{"a":1}\n\n  \r\n{"a":2}') == [(1, {"a": 1}), (4, {"a": 2})]


def test_a_byte_order_mark_is_not_part_of_the_first_record() -> None:
    assert read(b"\xef\xbb\xbf[1]\n[2]\n") == [(1, [1]), (2, [2])]


def test_a_broken_line_costs_itself_only_and_is_quoted_in_short() -> None:
    found = read(b"[1]\n{garbage " + b"x" * 1000 + b"\n[3]")
    assert [position for position, _ in found] == [1, 2, 3]
    broken = found[1][1]
    assert isinstance(broken, MalformedRecord)
    assert broken.detail.startswith("not valid JSON (")
    assert "{garbage xxx" in broken.detail
    assert len(broken.detail) <= DETAIL_CHARACTERS


@pytest.mark.parametrize("line", [b"garbage", b'"\xff', b"{" * 100_000, b'{"a": 1'])
def test_what_is_no_json_is_malformed(line: bytes) -> None:
    assert isinstance(read(line)[0][1], MalformedRecord)


@pytest.mark.parametrize("line", [b"[[[[", b"["])
def test_a_list_that_two_records_follow_without_a_comma_costs_itself_only(line: bytes) -> None:
    records = b'{"a": 1}\n{"a": 2}\n'
    found = read(b'{"a": 0}\n' + line + b"\n" + records)
    assert [position for position, _ in found] == [1, 2, 3, 4]
    assert isinstance(found[1][1], MalformedRecord)
    assert [value for _, value in found[2:]] == [{"a": 1}, {"a": 2}]
    assert read(line + b"\n" + records.replace(b"}\n", b"},\n", 1) + b"]" * len(line))[-1][1] == {"a": 2}
    assert read(line + b"\n" + records.replace(b"\n{", b"\n,{") + b"]" * len(line))[-1][1] == {"a": 2}


def test_the_nan_of_pythons_own_writer_is_null() -> None:
    assert read(b'{"a": NaN, "b": 1}') == [(1, {"a": None, "b": 1})]


def test_a_line_without_end_is_passed_over_in_pieces() -> None:
    found = read(b"[1]\n" + b'"' + b"x" * (5 << 20) + b'"\n[3]\n', most_bytes=1 << 20)
    assert [position for position, _ in found] == [1, 2, 3]
    assert found[1][1] == MalformedRecord(position=2, detail="a line of more than 1 MB")


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (" a ", "a"), ("", None), ("  ", None), (None, None)])
def test_ids_are_text_without_blanks(value: object, text: str | None) -> None:
    assert as_id(value, "id") == text


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}])
def test_an_id_of_another_kind_is_refused(value: object) -> None:
    with pytest.raises(FieldError, match="id should be text, got "):
        as_id(value, "id")


def test_texts_are_left_as_they_are() -> None:
    assert as_text(" a\n b ", "title") == " a\n b "
    with pytest.raises(FieldError, match="title is not valid Unicode"):
        as_text("a\ud800", "title")


@pytest.mark.parametrize(
    ("value", "year"),
    [(2020, 2020), ("2020", 2020), (" 2020 ", 2020), (2020.0, 2020), (True, None), ("20x", None), (99999, None)],
)
def test_years_are_whole_numbers_of_four_digits_at_most(value: object, year: int | None) -> None:
    assert as_year(value) == year


@pytest.mark.parametrize(("value", "label"), [(["a"], "a"), (["a", "b"], None), ([], None), ("a", "a"), (3, "3")])
def test_a_list_is_a_label_only_when_it_has_one(value: object, label: str | None) -> None:
    assert single(value, "label") == label


def test_a_record_without_its_keys_names_those_it_has() -> None:
    assert require_keys({"a": None}, ("a",)) == {"a": None}
    with pytest.raises(FieldError, match=r"no field b or c; its fields are a; try d"):
        require_keys({"a": 1}, ("a", "b", "c"), hint="; try d")
    with pytest.raises(FieldError, match="expected a JSON object, got null"):
        require_keys(None, ())
