"""The ids of a long text are those of the whole text, however it is cut."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Whitespace

from specter_batch.model.tokens import encoding
from specter_batch.model.tokens.encoding import TextEncoder
from specter_batch.model.tokens.long_text import WINDOWS, LongTextTokenizer, Windows
from support.small_tokenizers import KINDS, TEXTS

LENGTHS = (2, 3, 9, 40)

SMALL = Windows(first=16, longest=64, reread=8, prefix=1)
SHORT_REREAD = replace(WINDOWS, reread=8)


def encoder_of(made: Tokenizer, folder: Path, max_length: int, windows: Windows = SMALL) -> TextEncoder:
    made.save(str(folder / "tokenizer.json"))
    return TextEncoder(folder / "tokenizer.json", max_length=max_length, windows=windows)


def whole(made: Tokenizer, text: str, max_length: int) -> list[int]:
    """Tokenize all of a text, and cut the ids."""
    copy = Tokenizer.from_str(made.to_str())
    copy.enable_truncation(max_length)
    return list(copy.encode(text).ids)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=150)
@given(text=TEXTS, max_length=st.sampled_from(LENGTHS))
def test_the_ids_of_windows_are_those_of_the_whole_text(kind: str, text: str, max_length: int) -> None:
    made = KINDS[kind]
    reader = LongTextTokenizer(made, SMALL)
    assert reader.reads_words
    assert reader.encode(text, max_length=max_length) == whole(made, text, max_length)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], TextEncoder]:
    return {
        (kind, length): encoder_of(made, tmp_path_factory.mktemp("tokenizer"), length)
        for kind, made in KINDS.items()
        for length in LENGTHS
    }


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=100)
@given(texts=st.lists(TEXTS, max_size=4), max_length=st.sampled_from(LENGTHS))
def test_an_encoder_gives_the_ids_of_whole_texts(
    kind: str, texts: list[str], max_length: int, encoders: dict[tuple[str, int], TextEncoder]
) -> None:
    encoder = encoders[kind, max_length]
    expected = [whole(KINDS[kind], text, max_length) for text in texts]
    assert [ids.tolist() for ids in encoder.encode(texts)] == expected
    assert [ids.tolist() for ids in encoder.encode(map(encoder.shortened, texts))] == expected


@pytest.mark.parametrize(
    "text",
    [
        "word " * 10_000,
        "x" * 60_000,
        "中" * 60_000,
        "\u0301" * 60_000,
        "\x00" * 60_000,
        " " * 60_000,
        "a" + "\x00" * 40_000 + "b river",
        "a" + "\u0301" * 40_000 + "b river",
        "x" * 40_000 + " river" * 20,
        "." * 40_000,
        "[SEP]" * 10_000,
        "[" * 40_000,
        "İ" * 40_000,
        "ab\u00ad" * 20_000,
        "\u302e" * 50 + "a" * 5000,
    ],
    ids=lambda text: f"{text[:2]!a} and more",
)
def test_long_runs_of_one_kind(text: str, tmp_path: Path) -> None:
    for kind, made in KINDS.items():
        encoder = encoder_of(made, tmp_path, 24, SHORT_REREAD)
        assert encoder.encode([text])[0].tolist() == whole(made, text, 24), kind
        assert encoder.encode([encoder.shortened(text)])[0].tolist() == whole(made, text, 24), kind


def test_little_of_a_long_text_is_tokenized(tmp_path: Path) -> None:
    encoder = encoder_of(KINDS["uncased"], tmp_path, 40, WINDOWS)
    text = "the river and the liver " * 10_000
    short = encoder.shortened(text)
    assert len(short) <= 8 * 40
    assert encoder.encode([short])[0].tolist() == encoder.encode([text])[0].tolist()
    assert encoder.shortened("the river") == "the river"
    assert encoder.shortened("." * 5000) == "." * 5000  # nothing shows how many ids a part of it gives


def test_groups_of_texts_are_bounded() -> None:
    texts = ["a" * 1000] * 2000
    groups = list(encoding._groups(texts, most_characters=1 << 12))
    assert [text for group in groups for text in group] == texts
    assert max(map(len, groups)) <= encoding.GROUP_TEXTS
    assert list(encoding._groups([], most_characters=8)) == []


def with_token(made: Tokenizer, token: AddedToken) -> Tokenizer:
    copy = Tokenizer.from_str(made.to_str())
    copy.add_tokens([token])
    return copy


def other_kinds() -> dict[str, Tokenizer]:
    plain = KINDS["uncased"]
    pieces = Tokenizer(BPE({"a": 0, "b": 1, " ": 2, "ab": 3}, [("a", "b")]))
    spaced = Tokenizer.from_str(plain.to_str())
    spaced.pre_tokenizer = Whitespace()
    return {
        "byte pairs": pieces,
        "another splitter": spaced,
        "a token with a blank": with_token(plain, AddedToken("[the river]", normalized=False)),
        "a token of letters": with_token(plain, AddedToken("riverbed", normalized=False)),
        "a token that is normalised": with_token(plain, AddedToken("[NEW]", normalized=True)),
        "a token of a single word": with_token(plain, AddedToken("[NEW]", normalized=False, single_word=True)),
        "tokens that overlap": with_token(plain, AddedToken("[A[", normalized=False)),
    }


@pytest.mark.parametrize("kind", other_kinds())
def test_another_kind_of_tokenizer_reads_the_whole_text(kind: str, tmp_path: Path) -> None:
    made = other_kinds()[kind]
    reader = LongTextTokenizer(made, SMALL)
    assert not reader.reads_words
    text = "the river bed [the river] riverbed [NEW] ab [A[SEP] " * 100
    assert reader.encode(text, max_length=9) == whole(made, text, 9)
    encoder = encoder_of(made, tmp_path, 9)
    assert encoder.encode([text])[0].tolist() == whole(made, text, 9)
    assert encoder.shortened(text) == text


def test_the_tokenizer_given_is_not_changed() -> None:
    made = Tokenizer.from_str(KINDS["uncased"].to_str())
    made.enable_truncation(5)
    before = json.loads(made.to_str())
    LongTextTokenizer(made).encode("the river " * 100, max_length=20)
    assert json.loads(made.to_str()) == before
