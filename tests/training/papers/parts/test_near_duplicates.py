import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.papers.text import normalised_text_hash, normalised_words, words_hash
from specter_batch.training.papers.parts.near_duplicates import HASHES, near_pairs, signatures


def jaccard(one: bytes, other: bytes) -> float:
    first, second = (
        {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}
        for words in (one.split(b" "), other.split(b" "))
    )
    return len(first & second) / len(first | second)


def changed(text: bytes, words: int, *, random: np.random.Generator) -> bytes:
    parts = text.split(b" ")
    for place in random.integers(0, len(parts), words):
        parts[place] = b"other%d" % random.integers(10**6)
    return b" ".join(parts)


def random_texts(n: int, *, words: int = 150, seed: int = 0) -> list[bytes]:
    random = np.random.default_rng(seed)
    return [b" ".join(b"w%d" % word for word in random.integers(0, 5000, words)) for _ in range(n)]


def test_equal_numbers_of_two_signatures_estimate_the_share_of_common_sequences() -> None:
    random, texts = np.random.default_rng(1), random_texts(200)
    edited = [changed(text, int(random.integers(0, 30)), random=random) for text in texts]
    estimated = (signatures(texts) == signatures(edited)).mean(axis=1)
    expected = np.array([jaccard(*pair) for pair in zip(texts, edited, strict=True)])
    errors = estimated - expected
    assert abs(errors.mean()) < 0.015
    assert np.sqrt((errors**2).mean()) < 0.5 / np.sqrt(HASHES) * 1.3
    assert expected.min() < 0.4 < 0.95 < expected.max()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet="ab é", max_size=30), min_size=1, max_size=20))
def test_a_signature_depends_on_its_text_alone(texts: list[str]) -> None:
    words = [normalised_words(text) for text in texts]
    together = signatures(words)
    for row, one in zip(together, words, strict=True):
        np.testing.assert_array_equal(row, signatures([one])[0])


def test_edited_copies_are_found_and_other_texts_are_not() -> None:
    random, texts = np.random.default_rng(2), random_texts(500)
    copies = [changed(text, 6, random=random) for text in texts[:100]]
    assert np.mean([jaccard(*pair) for pair in zip(texts, copies, strict=False)]) > 0.7
    found = signatures([*texts, *copies])
    one, other = near_pairs(found, similarity=0.6)
    pairs = {(min(pair), max(pair)) for pair in zip(one.tolist(), other.tolist(), strict=True)}
    assert pairs <= {(i, 500 + i) for i in range(100)}
    assert len(pairs) >= 98


def test_many_copies_of_one_text_are_connected() -> None:
    random, text = np.random.default_rng(3), random_texts(1)[0]
    copies = signatures([changed(text, 2, random=random) for _ in range(300)])
    one, other = near_pairs(copies, similarity=0.6)
    reached, edges = {0}, list(zip(one.tolist(), other.tolist(), strict=True))
    while grown := {b for a, b in edges if a in reached} | {a for a, b in edges if b in reached}:
        if grown <= reached:
            break
        reached |= grown
    assert len(reached) == 300


def test_short_and_empty_texts_have_signatures() -> None:
    found = signatures([b"", b"one", b"one two", b"one two three", b"one two three four"])
    assert len({row.tobytes() for row in found}) == 5
    np.testing.assert_array_equal(signatures([b"one two"])[0], found[2])


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_the_hash_of_the_words_is_the_hash_of_the_leak_check(text: str) -> None:
    assert words_hash(normalised_words(text)) == normalised_text_hash(text)


def test_ten_thousand_texts_take_seconds() -> None:
    texts = random_texts(10_000)
    began = time.process_time()
    one, _ = near_pairs(signatures(texts), similarity=0.6)
    assert time.process_time() - began < 10  # about half a second
    assert not len(one)


@pytest.mark.parametrize("similarity", [1.0, 0.6])
def test_no_texts_have_no_pairs(similarity: float) -> None:
    assert len(near_pairs(signatures([]), similarity=similarity)[0]) == 0
