"""A fast tokenizer is used only as long as it gives the ids of `tokenizers`."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from specter_batch.model.tokens.encoding import TextEncoder
from specter_batch.model.tokens.fast_path import MOST_COMPARED, TEXTS_BEFORE_LOADING, compared
from specter_batch.model.tokens.nanotoken import FastLoader, NoFastTokenizer
from support.small_tokenizers import small_tokenizer

MAX_LENGTH = 24
TEXTS = [f"the river {number} in [SEP] a liver" for number in range(TEXTS_BEFORE_LOADING)]
WRONG_ID = 4


class Fast:
    """A fast tokenizer made of `tokenizers`. It gives wrong ids for texts with the word `trap`, or fails.

    Args:
        encoder: Encoder without a fast tokenizer.
        trap: The word.
        error: Error to raise instead of giving wrong ids.
    """

    name = "fast 1.0"

    def __init__(self, encoder: TextEncoder, trap: str, error: BaseException | None) -> None:
        self._encoder, self._trap, self._error = encoder, trap, error
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> Iterable[npt.NDArray[np.int64]]:
        self.texts += texts
        if self._error is not None and any(self._trap in text for text in texts):
            raise self._error
        for text, ids in zip(texts, self._encoder.encode(texts), strict=True):
            yield np.append(ids[:-1], WRONG_ID) if self._trap in text else ids


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    small_tokenizer().save(str(path))
    return path


def pair(file: Path, *, trap: str = "no such word", error: BaseException | None = None) -> tuple[TextEncoder, Fast]:
    """Return an encoder with a fast tokenizer, and the fast tokenizer."""
    fast = Fast(TextEncoder(file, max_length=MAX_LENGTH, fast=None), trap, error)
    return with_fast(file, fast), fast


def with_fast(file: Path, fast: Fast) -> TextEncoder:
    return TextEncoder(file, max_length=MAX_LENGTH, fast=lambda content, max_length: fast)  # noqa: ARG005


def lists(token_ids: Iterable[npt.NDArray[np.int64]]) -> list[list[int]]:
    return [ids.tolist() for ids in token_ids]


def expected(file: Path, texts: Sequence[str]) -> list[list[int]]:
    return lists(TextEncoder(file, max_length=MAX_LENGTH, fast=None).encode(texts))


def fields_of(records: Sequence[logging.LogRecord], event: str) -> list[dict[str, object]]:
    return [getattr(record, "fields", {}) for record in records if record.getMessage() == event]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="specter_batch")
    return caplog


def test_a_fast_tokenizer_that_agrees_is_used(file: Path, log: pytest.LogCaptureFixture) -> None:
    encoder, fast = pair(file)
    found = encoder.tokenize(TEXTS)
    assert (lists(found.token_ids), found.differences) == (expected(file, TEXTS), 0)
    assert fast.texts[-len(TEXTS) :] == TEXTS
    (fields,) = fields_of(log.records, "tokenizer chosen")
    assert fields["tokenizer"] == "fast 1.0"
    assert isinstance(fields["compared"], int) and fields["compared"] > 100


def test_few_texts_do_not_load_the_fast_tokenizer(file: Path) -> None:
    encoder, fast = pair(file)
    encoder.encode(TEXTS[:-1])
    assert not fast.texts
    encoder.encode(TEXTS[:1])
    assert fast.texts[-1] == TEXTS[0]


@pytest.mark.parametrize(
    "trap", ["[SEP]", "\u0301", "\ufffd", "中", "한", "\U0001f52c", "x" * 150, "e" * 99 + "\u0301"]
)
def test_a_difference_on_a_hard_text_is_found_before_any_paper_is_read(
    file: Path, trap: str, log: pytest.LogCaptureFixture
) -> None:
    encoder, fast = pair(file, trap=trap)
    found = encoder.tokenize(TEXTS)
    assert lists(found.token_ids) == expected(file, TEXTS)
    assert found.differences > 0
    assert not set(fast.texts) & set(TEXTS)
    (fields,) = fields_of(log.records, "tokenizer differs and is not used any more")
    assert fields["different"] == found.differences
    assert str(fields["instead"]).startswith("tokenizers ")
    assert fields_of(log.records, "tokenizer chosen") == []


def test_a_difference_on_a_compared_paper_falls_back_for_all_texts_of_the_call_and_for_good(
    file: Path, log: pytest.LogCaptureFixture
) -> None:
    encoder, fast = pair(file, trap="rivertrap")
    assert encoder.tokenize(TEXTS).differences == 0
    papers = ["a rivertrap", *TEXTS]
    assert (lists((found := encoder.tokenize(papers)).token_ids), found.differences) == (expected(file, papers), 1)
    fast.texts.clear()
    assert (lists((found := encoder.tokenize(papers)).token_ids), found.differences) == (expected(file, papers), 0)
    assert not fast.texts
    assert len(fields_of(log.records, "tokenizer differs and is not used any more")) == 1


@pytest.mark.parametrize("error", [ValueError("a paper's text"), type("Panic", (BaseException,), {})("a paper's text")])
@pytest.mark.parametrize("trap", ["rivertrap", "\u0301"])
def test_a_fast_tokenizer_that_fails_is_not_used_any_more(
    file: Path, error: BaseException, trap: str, log: pytest.LogCaptureFixture
) -> None:
    encoder, _ = pair(file, trap=trap, error=error)
    papers = [*TEXTS, "a rivertrap"]  # the last paper is not compared
    first, second = encoder.tokenize(papers), encoder.tokenize(papers)
    assert lists(first.token_ids) == lists(second.token_ids) == expected(file, papers)
    assert first.differences > 0 == second.differences
    (fields,) = fields_of(log.records, "tokenizer differs and is not used any more")
    assert fields["error"] == type(error).__name__
    assert "a paper's text" not in str(fields)


def test_an_interrupt_is_not_taken_for_a_failure(file: Path) -> None:
    encoder, _ = pair(file, trap="rivertrap", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        encoder.encode([*TEXTS, "a rivertrap"])


def test_a_fast_tokenizer_that_loses_a_text_is_not_used(file: Path) -> None:
    class Short(Fast):
        def encode(self, texts: Sequence[str]) -> Iterable[npt.NDArray[np.int64]]:
            return list(super().encode(texts))[:-1]

    fast = Short(TextEncoder(file, max_length=MAX_LENGTH, fast=None), "no such word", None)
    assert lists(with_fast(file, fast).encode(TEXTS)) == expected(file, TEXTS)


@pytest.mark.parametrize("error", [NoFastTokenizer("no such package"), OSError("a library is missing")])
def test_without_a_fast_tokenizer_the_reason_is_logged_once(
    file: Path, error: Exception, log: pytest.LogCaptureFixture
) -> None:
    def load(content: bytes, max_length: int) -> Fast:
        raise error

    encoder = TextEncoder(file, max_length=MAX_LENGTH, fast=load)
    for _ in range(2):
        found = encoder.tokenize(TEXTS)
        assert (lists(found.token_ids), found.differences) == (expected(file, TEXTS), 0)
    (fields,) = fields_of(log.records, "tokenizer chosen")
    assert str(fields["tokenizer"]).startswith("tokenizers ")
    assert str(error) in str(fields["why"])


def test_a_loader_gets_the_file_and_the_length(file: Path) -> None:
    given: list[tuple[bytes, int]] = []

    def load(content: bytes, max_length: int) -> Fast:
        given.append((content, max_length))
        raise NoFastTokenizer("for a test")

    loader: FastLoader = load
    TextEncoder(file, max_length=MAX_LENGTH, fast=loader).encode(TEXTS)
    assert given == [(file.read_bytes(), MAX_LENGTH)]


@pytest.mark.parametrize("n_texts", [0, 1, 127, 128, 129, 4096, 5000, 100_000])
def test_the_compared_texts_are_spread_over_a_call(n_texts: int) -> None:
    positions = list(compared(n_texts))
    assert positions[:1] == [0][:n_texts]
    assert len(positions) <= min(-(-n_texts // 128), MOST_COMPARED)
    assert n_texts < 4096 or (len(positions) >= MOST_COMPARED - 1 and positions[-1] >= n_texts * 30 // 32)
