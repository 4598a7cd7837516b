import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.papers.parquet import canonical_papers
from specter_batch.papers.text import SPELLINGS, is_missing, missing_ids, missing_values

INVISIBLE = st.text(
    st.sampled_from(" \t\n\x00\x1f\x7f\u00a0\u00ad\u200b\u200d\u200e\u2028\u2060\u3000\u3164\ufe0f\ufeff")
)


@settings(deadline=None)
@given(texts=st.lists(st.none() | st.text() | INVISIBLE | st.sampled_from(SPELLINGS), max_size=20))
def test_a_column_and_a_value_are_judged_alike(texts: list[str | None]) -> None:
    expected = [is_missing(text) for text in texts]
    assert missing_values(pa.array(texts, pa.string())).tolist() == expected
    assert missing_values(pa.chunked_array([pa.array(texts, pa.string())])).tolist() == expected


@given(before=INVISIBLE, text=st.just("") | st.sampled_from(SPELLINGS), after=INVISIBLE)
def test_nothing_visible_and_words_for_nothing_are_missing(before: str, text: str, after: str) -> None:
    assert is_missing(before + text + after)


@given(text=st.text(min_size=1))
def test_every_visible_letter_number_and_sign_is_a_text(text: str) -> None:
    visible = {"Lu", "Ll", "Lt", "Nd", "Nl", "No", "Pd", "Ps", "Pe", "Po", "Sm", "Sc", "Sk"}
    if any(unicodedata.category(character) in visible for character in text) and text.strip() not in SPELLINGS:
        assert is_missing(text) == (text.strip("".join(filter(is_missing, text))) in SPELLINGS)


@pytest.mark.parametrize(
    "text", ["Null", "none", "Nan", "NaN values in tables", "None of the above", "nanometre", "0", "."]
)
def test_words_that_only_look_like_it_are_texts(text: str) -> None:
    assert not is_missing(text)


def test_the_papers_of_every_command_have_null_for_what_is_missing() -> None:
    columns = {name: name for name in ("paper_id", "title", "abstract", "label")}
    rows = [("a", "\u200b", "nan", "None"), ("None", "T", " <NA>", "x"), ("b", "T", "A", None)]
    batch = pa.RecordBatch.from_pylist([dict(zip(columns, row, strict=True)) for row in rows])
    found = canonical_papers(batch, columns).table.to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("a", None, None, "None"),
        ("None", "T", None, "x"),
        ("b", "T", "A", None),
    ]


def test_words_for_nothing_are_ids_and_nothing_visible_is_none() -> None:
    ids = [*SPELLINGS, "a", " 1 ", None, "", " ", "\u200b\x00"]
    assert missing_ids(pa.array(ids)).tolist() == [False] * (len(SPELLINGS) + 2) + [True] * 4
