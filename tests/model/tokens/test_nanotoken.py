"""nanotoken gives the token ids of `tokenizers`."""

import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE, WordPiece

from specter_batch.model.tokens.encoding import TextEncoder
from specter_batch.model.tokens.hard_texts import hard_texts
from specter_batch.model.tokens.nanotoken import Nanotoken, NoFastTokenizer, load_nanotoken
from support.small_tokenizers import KINDS, SPECIALS, TEXTS, small_tokenizer

nanotoken = pytest.importorskip("nanotoken", reason="nanotoken is not installed: pip install nanotoken")

LENGTHS = (2, 3, 9, 512)
# Latin to Hangul Jamo, presentation forms, mathematical letters and pictures.
BLOCKS = ((0, 0x3200), (0x4DB0, 0x4E10), (0xA640, 0xACFF), (0xD7A0, 0xD800), (0xE000, 0xE010), (0xF900, 0x10600))
MORE_BLOCKS = ((0x16F00, 0x17010), (0x1D100, 0x1D800), (0x1E900, 0x1FB00), (0x20000, 0x20010), (0xE0000, 0xE0200))


def every_character(*, lowercase: bool) -> Tokenizer:
    """Return a tokenizer to which each character is a word, so that ids show what became of a character."""
    made = small_tokenizer(lowercase=lowercase)
    vocabulary = {word: number for number, word in enumerate(SPECIALS)}
    for character in characters():
        vocabulary.setdefault(character, len(vocabulary))
        vocabulary.setdefault(f"##{character}", len(vocabulary))
    made.model = WordPiece(vocabulary, unk_token="[UNK]")  # noqa: S106 - a token of text
    return made


def short_words() -> Tokenizer:
    """Return a tokenizer that splits no word of more than five characters, and that has more special tokens."""
    made = small_tokenizer()
    made.model.max_input_chars_per_word = 5
    made.add_special_tokens(["<title>", "[NEW]"])
    made.add_tokens([AddedToken("river", single_word=True), AddedToken("é", lstrip=True, normalized=True)])
    return made


@cache
def characters() -> list[str]:
    return [chr(point) for first, end in (*BLOCKS, *MORE_BLOCKS) for point in range(first, end)]


MADE = {**KINDS, "short words": short_words()}


@cache
def readers(kind: str, max_length: int) -> tuple[Tokenizer, Nanotoken]:
    """Return both tokenizers of a kind; `tokenizers` cuts its ids as the encoder does."""
    reference = Tokenizer.from_str(MADE[kind].to_str())
    reference.enable_truncation(max_length)
    return reference, Nanotoken(nanotoken, MADE[kind].to_str().encode(), max_length)


def assert_equal(reference: Tokenizer, fast: Nanotoken, texts: Sequence[str]) -> None:
    expected = [encoding.ids for encoding in reference.encode_batch_fast(texts)]
    found = list(fast.encode(texts))
    assert [ids.tolist() for ids in found] == expected
    assert {ids.dtype for ids in found} <= {np.dtype(np.int64)}


@pytest.mark.parametrize("kind", MADE)
@settings(deadline=None, max_examples=150)
@given(texts=st.lists(TEXTS, max_size=8), max_length=st.sampled_from(LENGTHS))
def test_ids_are_those_of_tokenizers(kind: str, texts: list[str], max_length: int) -> None:
    assert_equal(*readers(kind, max_length), texts)


@pytest.mark.parametrize("max_length", LENGTHS)
@pytest.mark.parametrize("kind", MADE)
def test_ids_of_hard_texts_are_those_of_tokenizers(kind: str, max_length: int) -> None:
    for longest_word in (5, 100):
        texts = hard_texts(specials=[*SPECIALS, "<title>"], longest_word=longest_word, max_length=max_length)
        assert_equal(*readers(kind, max_length), texts)


@pytest.mark.parametrize("lowercase", [True, False])
def test_every_character_becomes_what_tokenizers_makes_of_it(lowercase: bool) -> None:
    reference = every_character(lowercase=lowercase)
    fast = Nanotoken(nanotoken, reference.to_str().encode(), 512)
    texts = [f"{one} a{one}b A{one}\u0301{one}" for one in characters() if not one.isspace()]
    joined = [" ".join(texts[start : start + 16]) for start in range(0, len(texts), 16)]
    reference.enable_truncation(512)
    assert_equal(reference, fast, joined)


@pytest.mark.parametrize("word", ["x", "river ", "中", "\u0301", "[SEP]"])
def test_very_long_texts(word: str) -> None:
    text = word * (300_000 // len(word))
    for max_length in (9, 512):
        assert_equal(*readers("uncased", max_length), [text, "river", text])


def test_an_encoder_uses_nanotoken_and_gives_the_same_ids(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    MADE["uncased"].save(str(file))
    texts = ["the river " * 300, *hard_texts(specials=SPECIALS, longest_word=100, max_length=24)] * 8
    with_nanotoken, without = (TextEncoder(file, max_length=24, fast=fast) for fast in (load_nanotoken, None))
    found, expected = with_nanotoken.tokenize(texts), without.tokenize(texts)
    assert [ids.tolist() for ids in found.token_ids] == [ids.tolist() for ids in expected.token_ids]
    assert found.differences == 0
    assert found.token_ids[0].base is not None  # a view of the array that nanotoken fills for many texts


def test_several_threads_get_the_ids_of_one() -> None:
    _, fast = readers("uncased", 512)
    texts = [f"the river {number} livers{number % 7}" for number in range(2000)]
    expected = [ids.tolist() for ids in fast.encode(texts)]
    found: list[list[list[int]]] = []
    threads = [
        threading.Thread(target=lambda: found.append([ids.tolist() for ids in fast.encode(texts)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_another_kind_of_tokenizer_is_left_to_tokenizers() -> None:
    with pytest.raises(NoFastTokenizer, match="nanotoken does not read this kind of tokenizer"):
        load_nanotoken(Tokenizer(BPE({"a": 0}, [])).to_str().encode(), 24)


def test_without_nanotoken_the_reason_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanotoken", None)
    with pytest.raises(NoFastTokenizer, match=r"pip install 'specter-batch\[fast\]'"):
        load_nanotoken(small_tokenizer().to_str().encode(), 24)
