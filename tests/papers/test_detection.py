from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langdetect import DetectorFactory, LangDetectException
from langdetect.detector_factory import PROFILES_DIRECTORY

from specter_batch.papers import screening as module
from specter_batch.papers.columns import PAPER_SCHEMA
from specter_batch.papers.detection import detect
from specter_batch.papers.language import EnglishFilter, are_plain_english, is_plain_english
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.screening import Screening, reject_foreign_languages

LATIN = """
    the of and The we model rivers depth measured is in WHO DNA McDonald iPhone e.g. x 10 http://a.org/b?c=1 a@b.org
    der die und Flüsse Tiefe gemessen für les rivières été où über año niño não mała żółć jest och år ğ ışık și ț Tiếng
"""
OTHERS = "Việt ạ мы реки глубина і ї ўзор 我们 河流 的 測量 川の 深さ カワ 강 깊이 عمق نهر ی ه नदी ποταμών ნაკადი"
CODES = (
    "α",
    "β²",
    "🧠",
    "ß",
    "𝐀",
    "a\u0323",
    "e\u0301",
    "\u00a0",
    "\u00ab",
    "\u2013",
    "\u2019",
    "\ufb01",
    "\u0130",
    "\u01c5",
)
WORDS = [*LATIN.split(), *OTHERS.split(), *CODES]
pieces = st.one_of(st.sampled_from(WORDS), st.text(max_size=4))
separators = st.sampled_from([" ", "  ", "\n", ". ", ", ", "\t", "\u3000", "\x1c", ""])
texts = st.lists(st.tuples(pieces, separators), max_size=60).map(lambda parts: "".join(map("".join, parts)))


@cache
def factory() -> Any:
    made = DetectorFactory()
    profiles = sorted(Path(PROFILES_DIRECTORY).iterdir())
    made.load_json_profile([profile.read_text(encoding="utf-8") for profile in profiles])
    return made


def langdetect_itself(text: str, seed: int) -> str | None:
    detector = factory().create()
    detector.seed = seed
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None


@settings(deadline=None, max_examples=150)
@given(texts, st.integers(0, 3))
@example("", 0)
@example("A", 0)
@example("AB ab", 0)
@example("\ud800 the rivers", 0)
@example("word " * 2100 + "слово " * 2100, 0)  # only the first 10,000 characters count
@example("МОДЕЛЬ слово the rivers" + "и" * 50, 0)
def test_a_text_has_the_language_that_langdetect_finds(text: str, seed: int) -> None:
    assert detect(text, seed=seed) == langdetect_itself(text, seed)


@settings(deadline=None)
@given(st.lists(texts, max_size=12))
@example(["the model of the rivers " * 5 + "\u00a0" * 40, "the of " * 10, "", " ", "\u00e9the of " * 30])
def test_no_text_is_plain_english_in_a_column_only(values: list[str]) -> None:
    column = pa.array(values, pa.string())
    found = are_plain_english(column)
    expected = [is_plain_english(text) for text in values]
    assert not (found & ~np.array(expected, np.bool_)).any()
    assert [one for one, text in zip(found, values, strict=True) if text.isascii()] == [
        one for one, text in zip(expected, values, strict=True) if text.isascii()
    ]


english = st.lists(st.sampled_from(["the", "of", "and", "rivers", "depth", "der", "Bett"]), min_size=18, max_size=70)


@settings(deadline=None)
@given(st.lists(english.map(" ".join), min_size=1, max_size=12))
def test_ascii_texts_get_the_same_verdict_one_by_one_and_in_a_column(values: list[str]) -> None:
    assert are_plain_english(pa.array(values)).tolist() == [is_plain_english(text) for text in values]


def test_arrow_splits_words_at_the_characters_at_which_python_does() -> None:
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    words = pc.list_value_length(pc.utf8_split_whitespace(pa.array([f"a{one}b" for one in characters]))).to_numpy()
    assert [one for one, count in zip(characters, words, strict=True) if count == 2] == [
        one for one in characters if one.isspace()
    ]


maybe = st.one_of(st.none(), texts, st.just("the model of the rivers " * 9))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(maybe, maybe, st.booleans()), max_size=12))
def test_a_column_has_the_rejects_of_its_papers_one_by_one(rows: list[tuple[str | None, str | None, bool]]) -> None:
    rows = [(title, abstract, usable and title is not None) for title, abstract, usable in rows]
    table = pa.Table.from_pylist([{"title": title, "abstract": abstract} for title, abstract, _ in rows], PAPER_SCHEMA)
    usable = np.array([row[2] for row in rows], np.bool_)
    papers = PaperBatch(table=table, invalid_unicode=np.zeros(len(rows), np.bool_))
    screening = Screening(usable=usable.copy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LANGUAGE_ROWS", 5)
        undecided = reject_foreign_languages(screening, papers, EnglishFilter())
    languages = [EnglishFilter().language(f"{title} {abstract or ''}") for title, abstract, _ in rows]
    foreign = {row: found for row, found in enumerate(languages) if usable[row] and found not in ("en", "undecided")}
    assert screening.details == foreign
    assert screening.reasons == dict.fromkeys(foreign, "not_english")
    assert undecided == sum(usable[row] and found == "undecided" for row, found in enumerate(languages))
