"""Texts to token ids without transformers, and micro-batches cut by a token budget."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specter_batch.errors import BundleError

TokenIds = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class EncodedBatch:
    """Papers padded to the longest of them.

    Attributes:
        input_ids: `(batch, seq_len)` int64.
        attention_mask: `(batch, seq_len)` int64, 1 on tokens and 0 on padding.
        row: `(batch,)` int64: the position each paper came from.
    """

    input_ids: TokenIds
    attention_mask: TokenIds
    row: TokenIds


class TextEncoder:
    """Turns texts into token ids exactly as the checkpoint's own tokenizer does.

    Args:
        tokenizer_file: A `tokenizer.json`.
        content: Of that file, if the caller has read it already.
        max_length: Most tokens of a text, [CLS] and [SEP] included; longer texts are cut at the end.

    Raises:
        BundleError: The file is missing or no tokenizer.
    """

    def __init__(self, tokenizer_file: Path, *, max_length: int, content: bytes | None = None) -> None:
        from tokenizers import Tokenizer  # batches are also made where no tokenizer is needed or installed

        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer_file.read_bytes() if content is None else content)
        except Exception as error:  # the Rust library raises bare Exception
            raise BundleError(f"{tokenizer_file}: not a readable tokenizer.json ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self.max_length = max_length

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return each text's token ids, `(seq_len,)` int64 with `seq_len <= max_length`."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]


def longest_first(lengths: Sequence[int]) -> TokenIds:
    """Return `(n,)` positions from the longest to the shortest, equal lengths in input order."""
    return np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")


def plan_batches(lengths: Sequence[int], *, max_tokens: int) -> Iterator[TokenIds]:
    """Cut papers into batches of similar length that hold at most `max_tokens` tokens, padding included.

    A paper longer than the budget makes a batch of its own. The longest batch comes first, so that a device
    without enough memory says so at once.
    """
    order = longest_first(lengths)
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        stop = start + max(max_tokens // longest, 1)
        yield order[start:stop]
        start = stop


def rounded_up(lengths: Sequence[int], *, multiple: int, most: int) -> list[int]:
    """Return each length rounded up to a multiple, but none above `most`, the longest that the model can read."""
    return [min(-(-length // multiple) * multiple, most) for length in lengths]


def pad_batch(token_ids: Sequence[TokenIds], rows: TokenIds, *, seq_len: int | None = None) -> EncodedBatch:
    """Right-pad the papers at `rows` to one length; padding is id 0, hidden by the mask.

    Args:
        token_ids: Of all papers.
        rows: `(batch,)` positions of the papers of this batch.
        seq_len: The length; that of the longest paper when None.
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
