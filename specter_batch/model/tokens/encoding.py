"""Turns texts into token ids without transformers, and cuts papers into micro-batches by a token budget."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specter_batch.errors import BundleError
from specter_batch.model.tokens.fast_path import Encode, FastPath, compared
from specter_batch.model.tokens.hard_texts import hard_texts
from specter_batch.model.tokens.long_text import WINDOWS, LongTextTokenizer, Windows
from specter_batch.model.tokens.nanotoken import FastLoader, load_nanotoken

TokenIds = npt.NDArray[np.int64]

# Limits on the texts and characters that are tokenized together. The tokenizer then needs about 50 MB.
GROUP_TEXTS = 512
GROUP_CHARACTERS = 1 << 19

# A word between spaces that has an ASCII letter or digit, from the end of the word before it.
_WORD = r"[^A-Za-z0-9]*+[A-Za-z0-9][^ ]*+"


@dataclass(frozen=True, kw_only=True)
class EncodedBatch:
    """A batch of papers, padded to the length of the longest one.

    Attributes:
        input_ids: `(batch, seq_len)` int64.
        attention_mask: `(batch, seq_len)` int64, 1 on tokens and 0 on padding.
        row: `(batch,)` int64, the position of each paper in the input.
    """

    input_ids: TokenIds
    attention_mask: TokenIds
    row: TokenIds


@dataclass(frozen=True, kw_only=True)
class Tokenized:
    """Texts as token ids.

    Attributes:
        token_ids: Token ids `(seq_len,)` int64 of each text.
        differences: Number of compared texts to which the fast tokenizer gave other ids. If there are any, all ids are
            those of `tokenizers`.
    """

    token_ids: list[TokenIds]
    differences: int = 0


class TextEncoder:
    """Turns texts into token ids exactly as the checkpoint's own tokenizer does.

    A fast tokenizer makes the ids if there is one, as long as it agrees with the package `tokenizers` (`FastPath`).

    Args:
        tokenizer_file: Path of a `tokenizer.json`.
        content: Content of that file, if the caller has read it already.
        max_length: Largest number of tokens of a text, including [CLS] and [SEP]; longer texts are cut at the end.
        windows: Sizes of the windows in which long texts are read.
        fast: Makes the fast tokenizer; None to use `tokenizers` alone.

    Raises:
        BundleError: The file is missing or is not a tokenizer.
    """

    def __init__(
        self,
        tokenizer_file: Path,
        *,
        max_length: int,
        content: bytes | None = None,
        windows: Windows = WINDOWS,
        fast: FastLoader | None = load_nanotoken,
    ) -> None:
        from tokenizers import Tokenizer  # batches are also made where no tokenizer is needed or installed

        try:
            content = tokenizer_file.read_bytes() if content is None else content
            self._tokenizer = Tokenizer.from_buffer(content)
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(max_length)
            self._long_texts = LongTextTokenizer(self._tokenizer, windows)
        except Exception as error:  # the Rust library raises bare Exception
            raise BundleError(f"{tokenizer_file}: not a readable tokenizer.json ({error})") from error
        self.max_length = max_length
        self._prefix = windows.prefix * max_length
        self._has_enough_words = re.compile(rf"(?:{_WORD}){{{max_length}}}+").match
        self._fast = FastPath(
            None if fast is None else partial(fast, content, max_length),
            reference=self._reference,
            hard_texts=partial(
                hard_texts,
                specials=self._long_texts.specials,
                longest_word=self._long_texts.longest_word,
                max_length=max_length,
            ),
        )

    def encode(self, texts: Iterable[str]) -> list[TokenIds]:
        """Return each text's token ids, `(seq_len,)` int64 with `seq_len <= max_length`."""
        return self.tokenize(texts).token_ids

    def tokenize(self, texts: Iterable[str]) -> Tokenized:
        """Turn texts into token ids, and compare some of them if a fast tokenizer is used.

        For a long text, a prefix is tokenized first, and more of the text only if the prefix gives too few ids. The
        result is the same as for the whole text.
        """
        texts = list(texts)
        differences = self._fast.check(len(texts), lambda: [self._prefix_of(texts[at]) for at in compared(len(texts))])
        in_use = self._fast.in_use
        token_ids = self._fast.attempt(partial(self._encoded, texts))
        if token_ids is None:
            differences += in_use  # it failed on at least one text
            token_ids = self._encoded(texts, self._reference)
        return Tokenized(token_ids=token_ids, differences=differences)

    def _encoded(self, texts: Sequence[str], encode: Encode) -> list[TokenIds]:
        token_ids: list[TokenIds] = []
        for group in _groups(texts, most_characters=self._prefix):
            prefixes = [self._prefix_of(text) for text in group]
            for text, prefix, ids in zip(group, prefixes, encode(prefixes), strict=True):
                if len(prefix) < len(text) and len(ids) < self.max_length:
                    ids = np.array(self._long_texts.encode(text, max_length=self.max_length), dtype=np.int64)
                token_ids.append(ids)
        return token_ids

    def _reference(self, texts: Sequence[str]) -> Iterable[TokenIds]:
        return (np.array(encoding.ids, dtype=np.int64) for encoding in self._tokenizer.encode_batch_fast(texts))

    def shortened(self, text: str) -> str:
        """Return a shorter text with the same ids if one is easy to find, otherwise the text itself.

        This works because each word between spaces that has an ASCII letter or digit gives at least one id.
        """
        prefix = self._prefix_of(text)
        if len(prefix) == len(text) or self._has_enough_words(prefix) is None:
            return text
        return prefix

    def _prefix_of(self, text: str) -> str:
        """Return the beginning of a long text up to a space; the words after it cannot change its ids."""
        if len(text) <= self._prefix or not self._long_texts.reads_words:
            return text
        return text[: max(text.rfind(" ", 0, self._prefix), 0)]


def _groups(texts: Iterable[str], *, most_characters: int) -> Iterator[list[str]]:
    """Cut texts into groups that are tokenized together. The tokenizer holds all tokens of a group in memory."""
    group: list[str] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += min(len(text), most_characters)
        if len(group) == GROUP_TEXTS or characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def longest_first(lengths: Sequence[int]) -> TokenIds:
    """Return the positions `(n,)` from the longest to the shortest paper; equal lengths stay in input order."""
    return np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")


def plan_batches(lengths: Sequence[int], *, max_tokens: int) -> Iterator[TokenIds]:
    """Cut papers into batches of similar length that hold at most `max_tokens` tokens, padding included.

    A paper longer than the budget is a batch by itself. The longest batch comes first, so that a device without enough
    memory fails at the start.
    """
    order = longest_first(lengths)
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        stop = start + max(max_tokens // longest, 1)
        yield order[start:stop]
        start = stop


def rounded_up(lengths: Sequence[int], *, multiple: int, most: int) -> list[int]:
    """Return each length rounded up to a multiple, but at most `most`, the longest input of the model."""
    return [min(-(-length // multiple) * multiple, most) for length in lengths]


def pad_batch(token_ids: Sequence[TokenIds], rows: TokenIds, *, seq_len: int | None = None) -> EncodedBatch:
    """Pad the papers at `rows` on the right to one length. The padding id is 0, and the attention mask hides it.

    Args:
        token_ids: Token ids of all papers, each `(seq_len,)`.
        rows: Positions `(batch,)` of the papers of this batch.
        seq_len: The padded length in tokens; the length of the longest paper when None.
    """
    if seq_len is None:
        seq_len = max(len(token_ids[row]) for row in rows)
    input_ids = np.zeros((len(rows), seq_len), dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for position, row in enumerate(rows):
        length = len(token_ids[row])
        input_ids[position, :length] = token_ids[row]
        attention_mask[position, :length] = 1
    return EncodedBatch(input_ids=input_ids, attention_mask=attention_mask, row=rows)
