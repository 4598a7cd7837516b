"""langdetect's algorithm on arrays: the same profiles, random numbers, sums and answers in a fifth of the time.

Imported when the first text needs it, because langdetect and its profiles take a tenth of a second to load.
"""

import json
import random
import re
from dataclasses import dataclass
from functools import cache
from operator import add
from pathlib import Path

import numpy as np
import numpy.typing as npt
from langdetect.detector import Detector
from langdetect.detector_factory import PROFILES_DIRECTORY
from langdetect.utils.ngram import NGram

# Numbers that langdetect has only in its code.
_TRIALS = 7
_UPDATES_BETWEEN_CHECKS = 5

_SPACES = re.compile(" {2,}")
_LATIN = re.compile("[A-z]")
# What langdetect counts as letters of other scripts, when it decides whether to drop the Latin letters.
_NOT_LATIN = re.compile("[^\u0000-\u02ff\u1e00-\u1eff]")


class _Normalised(dict[int, str]):
    """Code point -> the character that langdetect reads for it, filled when a character occurs for the first time."""

    def __missing__(self, code: int) -> str:
        normalised: str = NGram.normalize(chr(code))
        if code < 0x10000:
            self[code] = normalised
        return normalised


_NORMALISED = _Normalised()

_NOT_THERE = -1
# A character that is in no n-gram.
_NO_LETTER = "\0"


class _Numbers(dict[str, int]):
    """N-gram -> its number; `_NOT_THERE` for others."""

    def __missing__(self, ngram: str) -> int:
        return _NOT_THERE


@dataclass(frozen=True, kw_only=True, eq=False)
class Profiles:
    """How frequent n-grams of one to three characters are in each language.

    Most n-grams occur in few languages. Only these frequencies are held, one n-gram after another.

    Attributes:
        languages: Code of each language.
        numbers: N-gram -> its number.
        starts: Position of the first frequency of each n-gram, `(n_grams + 1,)` int64.
        language: Number of the language of each frequency, `(n_frequencies,)` int64.
        frequency: The frequencies, `(n_frequencies,)` float64.
    """

    languages: list[str]
    numbers: _Numbers
    starts: npt.NDArray[np.int64]
    language: npt.NDArray[np.int64]
    frequency: npt.NDArray[np.float64]

    def rows(self, ngrams: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the frequencies of n-grams `(n,)` in all languages, `(n, n_languages)`."""
        counts = self.starts[ngrams + 1] - self.starts[ngrams]
        rows = np.repeat(np.arange(len(ngrams)), counts)
        at = np.arange(len(rows)) + np.repeat(self.starts[ngrams] - np.cumsum(counts) + counts, counts)
        frequencies = np.zeros((len(ngrams), len(self.languages)))
        frequencies[rows, self.language[at]] = self.frequency[at]
        return frequencies


@cache
def profiles() -> Profiles:
    """Load langdetect's profiles once, in the order of their names.

    langdetect's global factory is not used. It is not safe to load from several threads, other code may change its
    seed, and the order of its profiles depends on the file system.
    """
    numbers = _Numbers()
    languages: list[str] = []
    ngram: list[npt.NDArray[np.int64]] = []
    frequency: list[npt.NDArray[np.float64]] = []
    for file in sorted(Path(PROFILES_DIRECTORY).iterdir()):
        profile = json.loads(file.read_text(encoding="utf-8"))
        words = {word: count for word, count in profile["freq"].items() if 1 <= len(word) <= NGram.N_GRAM}
        sizes = np.fromiter(map(len, words), np.int64, len(words))
        counts = np.fromiter(words.values(), np.float64, len(words))
        ngram.append(np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), np.int64, len(words)))
        frequency.append(counts / np.array(profile["n_words"], np.float64)[sizes - 1])
        languages.append(profile["name"])
    ngrams = np.concatenate(ngram)
    order = np.argsort(ngrams, kind="stable")
    language = np.repeat(np.arange(len(languages)), [len(part) for part in ngram])
    return Profiles(
        languages=languages,
        numbers=numbers,
        starts=np.searchsorted(ngrams[order], np.arange(len(numbers) + 1)),
        language=language[order],
        frequency=np.concatenate(frequency)[order],
    )


def detect(text: str, *, seed: int) -> str | None:
    """Return the language that langdetect finds, "unknown" if no language is likely, or None without known n-grams.

    Args:
        text: The text, of which langdetect reads 10,000 characters.
        seed: Seed of the n-grams that are sampled.
    """
    known = profiles()
    ngrams = _ngrams(_read(text), known.numbers)
    if not len(ngrams):
        return None
    different, positions = np.unique(ngrams, return_inverse=True)
    probability = _probabilities(known.rows(different), positions.tolist(), seed=seed)
    best = int(probability.argmax())
    return known.languages[best] if probability[best] > Detector.PROB_THRESHOLD else str(Detector.UNKNOWN_LANG)


def _read(text: str) -> str:
    """Return the part of a text that counts: no addresses, no repeated spaces, one script."""
    text = NGram.normalize_vi(Detector.MAIL_RE.sub(" ", Detector.URL_RE.sub(" ", text)))
    text = _SPACES.sub(" ", text[:10_000])
    if 2 * len(_LATIN.findall(text)) < len(_NOT_LATIN.findall(text)):
        text = _LATIN.sub("", text)
    return text


def _ngrams(text: str, numbers: _Numbers) -> npt.NDArray[np.int64]:
    """Return the numbers of the n-grams that end at each character, but none within a word in capitals."""
    # No n-gram has a space between two letters, so all n-grams that the profiles have lie in one word.
    text = _SPACES.sub(" ", f"{_NO_LETTER}{_NO_LETTER} {text.translate(_NORMALISED)}")
    upper = np.fromiter(map(str.isupper, text), np.bool_, len(text))
    pairs = list(map(add, text[1:], text[2:]))
    ending = (text[3:], pairs[1:], map(add, pairs, text[3:]))
    size = len(text) - 3
    found = np.stack([np.fromiter(map(numbers.__getitem__, ngrams), np.int64, size) for ngrams in ending], axis=1)
    found[upper[3:] & upper[2:-1]] = _NOT_THERE
    return np.asarray(found[found != _NOT_THERE])


def _probabilities(frequencies: npt.NDArray[np.float64], positions: list[int], *, seed: int) -> npt.NDArray[np.float64]:
    """Return the probability of each language, the mean of several trials that draw n-grams until one is certain.

    The order of the random numbers and of every product and sum is langdetect's.

    Args:
        frequencies: Frequencies of the different n-grams, `(n_different, n_languages)`.
        positions: Row of each n-gram of the text.
        seed: Seed of the generator.
    """
    generator = random.Random(seed)  # noqa: S311 - langdetect's generator
    n_languages = frequencies.shape[1]
    mean = np.zeros(n_languages)
    factors = np.empty((_UPDATES_BETWEEN_CHECKS + 1, n_languages))
    for _ in range(_TRIALS):
        probability = np.full(n_languages, 1.0 / n_languages)
        alpha = Detector.ALPHA_DEFAULT + generator.gauss(0.0, 1.0) * Detector.ALPHA_WIDTH
        weighted = frequencies + alpha / Detector.BASE_FREQ
        updates = 1  # langdetect checks after the first one, and then after every fifth
        for _ in range(0, Detector.ITERATION_LIMIT + 1, _UPDATES_BETWEEN_CHECKS):
            drawn = [generator.choice(positions) for _ in range(updates)]
            product = factors[: updates + 1]
            product[0] = probability
            weighted.take(drawn, axis=0, out=product[1:], mode="clip")  # all are valid; "raise" would copy
            np.multiply.reduce(product, axis=0, out=probability)
            probability /= sum(probability.tolist())  # numpy would add in another order
            if np.maximum.reduce(probability) > Detector.CONV_THRESHOLD:
                break
            updates = _UPDATES_BETWEEN_CHECKS
        mean += probability / _TRIALS
    return mean
