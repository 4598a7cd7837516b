"""Columns in the names of folders."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.inputs import parquet_inventory
from specter_batch.inputs.path_names import NULL_PARTITION, partitions_above, partitions_in

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


@given(st.dictionaries(TEXT, st.one_of(st.none(), TEXT.filter(lambda value: value != NULL_PARTITION)), max_size=4))
def test_what_a_writer_puts_into_folder_names_is_read_back(columns: dict[str, str | None]) -> None:
    folders = [
        f"{quote(name, safe='')}={NULL_PARTITION if value is None else quote(value, safe='')}"
        for name, value in columns.items()
    ]
    assert partitions_in(folders) == columns
    assert partitions_above(["data", *folders]) == columns
    assert partitions_in(["data", *folders, "part"]) == columns


@pytest.mark.parametrize("folder", ["plain", "=value", "", "="])
def test_other_folders_are_no_columns(folder: str) -> None:
    assert partitions_in([folder]) == {}


def test_an_empty_value_is_none_and_a_second_equals_sign_belongs_to_the_value() -> None:
    assert partitions_in(["a=", "b=c=d"]) == {"a": None, "b": "c=d"}


def test_a_value_that_is_not_utf8_is_replaced_as_in_a_file() -> None:
    assert partitions_in(["a=%ff", "b=\udcff"]) == {"a": "\ufffd", "b": "\ufffd"}


@pytest.mark.parametrize("source", ["", "label=x", "label=x/a.parquet", "label=*", "*/a.parquet", "label=x/*.parquet"])
def test_a_file_has_its_columns_however_it_is_named(tmp_path: Path, source: str) -> None:
    file = tmp_path / "label=x/a.parquet"
    file.parent.mkdir()
    file.touch()
    found = parquet_inventory(f"{tmp_path}/{source}/**" if source == "label=*" else f"{tmp_path}/{source}").files
    assert [dict(one.partitions) for one in found] == [{"label": "x"}]
