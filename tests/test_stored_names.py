"""One reversible form of every file name, which JSON and parquet can hold."""

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from specter_batch.display import original_name, storable, stored_name
from specter_batch.storage.files import write_json, write_text


@given(st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([b"\\", b"\\xe9", b"\xe9", b"\\\\", b"x"]))))
def test_every_name_has_a_stored_form_of_its_own(pieces: list[bytes]) -> None:
    name = os.fsdecode(b"".join(pieces))
    stored = stored_name(name)
    stored.encode("utf-8")
    assert original_name(stored) == name


@given(st.text(st.characters(exclude_characters="\\", exclude_categories=("Cs",))))
def test_ordinary_names_are_stored_as_they_are(name: str) -> None:
    assert stored_name(name) == name == storable(name)


def test_files_take_text_that_is_not_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.md", "caf\udce9 and \ud800")
    write_json(tmp_path / "a.json", {"caf\udce9": ["\\\udce9"]})
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == r"caf\xe9 and \ud800"
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {r"caf\xe9": [r"\\xe9"]}
