"""A faster tokenizer than `tokenizers`: the package nanotoken, which reads the same tokenizer.json."""

import os
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

# nanotoken keeps the ids of words that it has read. Its own limit needs 130 MB, this one 10 MB. Scientific English
# is tokenized nearly as fast with either.
CACHED_WORDS = 1 << 16


class FastTokenizer(Protocol):
    """A tokenizer that should give the same token ids as `tokenizers`, and is used only as long as it does."""

    @property
    def name(self) -> str:
        """Name and version, for logs and reports."""

    def encode(self, texts: Sequence[str]) -> Iterable[npt.NDArray[np.int64]]:
        """Return each text's token ids, `(seq_len,)` int64, cut as `TextEncoder` cuts them."""


# Makes a fast tokenizer from the content of a tokenizer.json and the largest number of tokens of a text.
FastLoader = Callable[[bytes, int], FastTokenizer]


class NoFastTokenizer(Exception):  # noqa: N818 - it is no error: `tokenizers` is used
    """There is no fast tokenizer for this file. The text is the reason."""


class Nanotoken:
    """nanotoken's WordPiece tokenizer. It works on the calling thread and lets other Python threads run.

    Args:
        package: The imported package.
        content: Content of a tokenizer.json.
        max_length: Largest number of tokens of a text.
    """

    def __init__(self, package: Any, content: bytes, max_length: int) -> None:
        self._tokenizer = package.WordPieceTokenizer.from_json(content)
        self._max_length = max_length
        if "NANOTOKEN_CACHE_ENTRIES" not in os.environ:
            package.set_cache_entries(CACHED_WORDS)

    @property
    def name(self) -> str:
        """Name and version of the package."""
        try:
            return f"nanotoken {version('nanotoken')}"
        except PackageNotFoundError:
            return "nanotoken"

    def encode(self, texts: Sequence[str]) -> Iterable[npt.NDArray[np.int64]]:
        """Return each text's token ids, `(seq_len,)` int64."""
        found, ends = self._tokenizer.encode_batch(texts, max_length=self._max_length, parallel=False)
        ids, ends = found.astype(np.int64), ends.tolist()
        return [ids[start:end] for start, end in pairwise(ends)]


def load_nanotoken(content: bytes, max_length: int) -> FastTokenizer:
    """Return nanotoken's tokenizer for the content of a tokenizer.json.

    Raises:
        NoFastTokenizer: nanotoken is not installed, or does not read this kind of tokenizer.
    """
    try:
        import nanotoken  # an optional package
    except ImportError as error:
        raise NoFastTokenizer(f"{error}; to install nanotoken: pip install 'specter-batch[fast]'") from error
    try:
        return Nanotoken(nanotoken, content, max_length)
    except nanotoken.UnsupportedTokenizerError as error:
        raise NoFastTokenizer(f"nanotoken does not read this kind of tokenizer: {error}") from error
