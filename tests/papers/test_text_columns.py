import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.papers import text as module
from specter_batch.papers.text import paper_text, text_columns, text_hash, text_hashes

TEXTS = st.one_of(st.none(), st.text(max_size=6), st.text(" \t\n\x1c\x85\xa0\u2003\u3000ab", max_size=6))
TEMPLATES = ("{title}[SEP]{abstract}", "{abstract} {title}", "<{title}|{abstract}>", "{title}{abstract}")


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=9), st.sampled_from(TEMPLATES), st.integers(0, 9), st.data())
def test_a_column_of_texts_and_hashes_is_that_of_single_papers(
    papers: list[tuple[str | None, str | None]], template: str, cut: int, data: st.DataObject
) -> None:
    table = pa.table({"title": [one[0] for one in papers], "abstract": [one[1] for one in papers]}).cast(
        pa.schema([("title", pa.string()), ("abstract", pa.string())])
    )
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(min(cut, len(papers)))])
    rows = data.draw(st.lists(st.integers(0, max(len(papers) - 1, 0)), max_size=12 if papers else 0))
    for numbers in (None, np.array(rows, dtype=np.int64)):
        chosen = papers if numbers is None else [papers[row] for row in rows]
        expected = [paper_text(title, abstract, template) for title, abstract in chosen]
        columns = list(text_columns(chunked, template, rows=numbers))
        assert [text for column in columns for text in column.to_pylist()] == expected
        assert b"".join(map(text_hashes, columns)).hex() == "".join(map(text_hash, expected))


def test_a_part_of_a_column_is_hashed_from_where_it_begins() -> None:
    texts = pa.array(["first", "", "third"], pa.large_string())
    assert text_hashes(texts.slice(1)).hex() == text_hash("") + text_hash("third")
    assert text_hashes(texts.slice(3)) == text_hashes(pa.array([], pa.large_string())) == b""


def test_only_a_few_long_texts_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_BYTES", 10)
    table = pa.table({"title": ["a" * 4] * 5 + ["b" * 40], "abstract": pa.nulls(6, pa.string())})
    assert [len(column) for column in text_columns(table)] == [2, 2, 1, 1]


def test_arrow_and_python_agree_about_white_space() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    trimmed = pc.utf8_trim_whitespace(pa.array(characters, pa.large_string()))
    assert pc.equal(pc.binary_length(trimmed), 0).to_pylist() == [character.isspace() for character in characters]
