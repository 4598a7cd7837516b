"""Text that is not UTF-8 reaches the readers as UTF-8."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.errors import ConfigError, PaperSchemaError
from specter_jobs.dumps.decoding import checked_encoding, encoding_of
from specter_jobs.dumps.inputs import InputCount, opened, silent

WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32"]


def read(path: Path, encoding: str | None = None) -> str:
    with opened(path, InputCount(), silent, encoding=encoding) as stream:
        return stream.read().decode().removeprefix("\ufeff")


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=3_000), encoding=st.sampled_from(WIDE))
def test_wide_encodings_are_recognised(tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str) -> None:
    path = tmp_path_factory.mktemp("wide") / "a.csv"
    header = "paper_id,title,abstract\n"
    path.write_bytes((header + text).encode(encoding))
    assert read(path) == header + text


@given(text=st.text(st.characters(codec="cp1252"), max_size=3_000))
def test_an_encoding_can_be_named(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("named") / "a.csv"
    path.write_bytes(b"id," + text.encode("cp1252"))
    assert read(path, "cp1252") == "id," + text


def test_a_byte_that_the_encoding_does_not_know_stays_invalid(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9 \x81")
    with opened(tmp_path / "a", InputCount(), silent, encoding="cp1252") as stream:
        assert stream.read() == "café ".encode() + b"\x81"


def test_half_a_character_at_the_end_says_that_the_file_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("id,title".encode("utf-16")[:-1])
    with pytest.raises(PaperSchemaError, match=r"not valid utf-16 .* cut off or damaged"):
        read(tmp_path / "a")


def test_text_of_another_encoding_than_the_named_one_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"id,title")
    with pytest.raises(PaperSchemaError, match=r"not valid utf-16 \(.*BOM\).* of another encoding"):
        read(tmp_path / "a", "utf-16")


@pytest.mark.parametrize("text", ['<?xml version="1.0" encoding="UTF-16"?><a/>', " <PubmedArticleSet/>"])
def test_xml_names_its_encoding_itself(text: str) -> None:
    assert encoding_of(text.encode("utf-16")) is None


@pytest.mark.parametrize("head", [b"", b"\xff", b"id,title\n", "日本語,x".encode(), b"\x00\x00\x00\x00", b"a\x00b"])
def test_other_texts_are_left_as_they_are(head: bytes) -> None:
    assert encoding_of(head) is None


def test_names_of_encodings_are_checked() -> None:
    assert checked_encoding("Windows-1252") == "cp1252"
    for name in ("klingon", "base64", "", "a\0b", "idna", "punycode", "undefined"):
        with pytest.raises(ConfigError, match="no such encoding; for example utf-8, cp1252"):
            checked_encoding(name)
