"""Uses a fast tokenizer as long as it gives the token ids of `tokenizers`, which are compared again and again."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from itertools import zip_longest
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from specter_batch.model.tokens.nanotoken import FastTokenizer, NoFastTokenizer

Encode = Callable[[Sequence[str]], Iterable[npt.NDArray[np.int64]]]
Result = TypeVar("Result")
logger = logging.getLogger(__name__)

# A fast tokenizer takes as long to load and to check as `tokenizers` takes for 400 texts.
TEXTS_BEFORE_LOADING = 500
# One text in this number is compared, and at most so many in one call. Although `tokenizers` is 40 times slower, this
# takes less than a third of the time of the call.
COMPARED_SHARE = 128
MOST_COMPARED = 32


class FastPath:
    """Decides whether a fast tokenizer is used. Several threads may use it at once.

    It is loaded once there are texts enough, and compared with `tokenizers` on hard texts. Then some texts of each call
    are compared. After the first difference it is never used again.

    Args:
        load: Makes the fast tokenizer; None to use `tokenizers` alone.
        reference: Tokenizes texts with `tokenizers`.
        hard_texts: Makes the texts that are compared before the fast tokenizer is used.
    """

    def __init__(
        self, load: Callable[[], FastTokenizer] | None, *, reference: Encode, hard_texts: Callable[[], list[str]]
    ) -> None:
        self._load, self._reference, self._hard_texts = load, reference, hard_texts
        self._fast: FastTokenizer | None = None
        self._lock = threading.Lock()
        self._texts = 0

    def check(self, n_texts: int, sample: Callable[[], Sequence[str]]) -> int:
        """Compare a sample of the texts that come next. Return how many compared texts got other ids.

        Args:
            n_texts: Number of texts that come next.
            sample: Returns those of them that are compared. It is called if a fast tokenizer is used.
        """
        with self._lock:
            self._texts += n_texts
            different = self._loaded() if self._texts >= TEXTS_BEFORE_LOADING else 0
        if different or not self.in_use:
            return different
        return self._different(sample())

    @property
    def in_use(self) -> bool:
        """Whether the fast tokenizer is used for the next texts."""
        return self._fast is not None

    def attempt(self, work: Callable[[Encode], Result]) -> Result | None:
        """Do work with the fast tokenizer. Return None without a fast tokenizer, or if it fails."""
        fast = self._fast
        if fast is None:
            return None
        try:
            return work(fast.encode)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # panics of Rust libraries are not subclasses of Exception
            self._give_up(fast, error=type(error).__name__)  # its text may hold a paper's text
            return None

    def _loaded(self) -> int:
        """Load the fast tokenizer if that was not tried yet. Return how many of the hard texts got other ids."""
        load, self._load = self._load, None
        if load is None:
            return 0
        try:
            self._fast = load()
        except NoFastTokenizer as reason:
            _log_choice(_reference_name(), why=str(reason))
            return 0
        except Exception as error:  # whatever a young package raises, `tokenizers` is there
            _log_choice(_reference_name(), why=f"{type(error).__name__}: {error}")
            return 0
        texts = self._hard_texts()
        different = self._different(texts, times=2)  # the second time, words come from its cache
        if self._fast is not None:
            _log_choice(self._fast.name, compared=len(texts))
        return different

    def _different(self, texts: Sequence[str], *, times: int = 1) -> int:
        """Return how many texts get other ids. If there are any, the fast tokenizer is not used any more."""
        fast = self._fast
        if fast is None or not texts:
            return 0
        expected = list(self._reference(texts))
        for _ in range(times):
            found = self.attempt(lambda encode: list(encode(texts)))
            if found is None:
                return len(texts)
            different = sum(not np.array_equal(*pair) for pair in zip_longest(found, expected, fillvalue=()))
            if different:
                self._give_up(fast, different=different, compared=len(texts))
                return different
        return 0

    def _give_up(self, fast: FastTokenizer, **fields: object) -> None:
        self._fast = None
        about = {"tokenizer": fast.name, "instead": _reference_name(), **fields}
        logger.warning("tokenizer differs and is not used any more", extra={"fields": about})


def compared(n_texts: int) -> range:
    """Return the positions of the texts to compare, evenly spread over a call."""
    return range(0, n_texts, max(-(-n_texts // MOST_COMPARED), COMPARED_SHARE))


def _log_choice(name: str, **fields: object) -> None:
    logger.info("tokenizer chosen", extra={"fields": {"tokenizer": name, **fields}})


def _reference_name() -> str:
    return f"tokenizers {version('tokenizers')}"
