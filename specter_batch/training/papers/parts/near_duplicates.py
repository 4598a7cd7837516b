"""Finds texts that are nearly equal, with MinHash signatures of three-word sequences (Broder 1997).

A signature takes 128 bytes per paper, whatever the length of the text, so a million papers need 128 MB. The usual
library, datasketch, hashes each sequence in Python and keeps its index in Python dictionaries. For 20,000 synthetic
texts of 170 words, on one core, datasketch 2.0 took 36 seconds and 126 MB, and this module 2 seconds and 43 MB.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.f1 import Ints

# Number of words in a sequence.
WORDS = 3
# Number of hash functions. Their minima are stored in 16 bits each (b-bit minwise hashing, Li and König 2010).
HASHES = 64
# Four hashes are one band. Two texts are compared if a band is equal, which finds 99 % of the pairs that share 0.7 of
# their sequences: 1 - (1 - 0.7^4)^16.
BANDS = 16
# Papers of one bucket are compared with this many neighbours. Larger buckets form chains of neighbours.
NEIGHBOURS = 16
# Number of texts whose signatures are made at once, so that all sequences fit into the processor's cache.
BLOCK = 512
_COMPARED = 1 << 16

Signatures = npt.NDArray[np.uint16]
_Numbers = npt.NDArray[np.uint64]

# An odd number, so that it has an inverse modulo 2^64.
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 2**64)


@dataclass(frozen=True)
class _Functions:
    """The hash functions of the signatures: `x -> factor * x + summand` modulo 2^32, both `(HASHES,)` uint32."""

    factors: npt.NDArray[np.uint32]
    summands: npt.NDArray[np.uint32]

    @classmethod
    def fixed(cls) -> "_Functions":
        """Return the functions. They are the same in every run, so that signatures are, too."""
        random = np.random.default_rng(0)
        factors, summands = random.integers(0, 2**32, size=(2, HASHES), dtype=np.uint32)
        return cls(factors=factors | np.uint32(1), summands=summands)


_FUNCTIONS = _Functions.fixed()


def signatures(texts: Sequence[bytes]) -> Signatures:
    """Return the MinHash signatures `(n_texts, HASHES)` of texts.

    The share of equal numbers in two signatures estimates the share of three-word sequences that two texts have in
    common (their Jaccard similarity), with a standard error of at most 0.0625.

    Args:
        texts: Words in UTF-8, separated by single spaces, as from `normalised_words`.
    """
    found = np.empty((len(texts), HASHES), dtype=np.uint16)
    for start in range(0, len(texts), BLOCK):
        block = texts[start : start + BLOCK]
        sequences, first = _sequence_hashes(block)
        for number in range(HASHES):
            hashed = sequences * _FUNCTIONS.factors[number] + _FUNCTIONS.summands[number]
            found[start : start + len(block), number] = np.minimum.reduceat(hashed, first).astype(np.uint16)
    return found


def _sequence_hashes(texts: Sequence[bytes]) -> tuple[npt.NDArray[np.uint32], Ints]:
    """Return a hash of each sequence of words, `(n_sequences,)`, and the number of each text's first one, `(n_texts,)`.

    A text with fewer words than a sequence is one sequence.
    """
    joined = np.frombuffer(b" ".join(texts) + b" ", dtype=np.uint8)
    lengths = np.array([len(text) for text in texts])
    begins = np.concatenate([[0], np.cumsum(lengths[:-1] + 1)])
    # Each word is followed by one space. An empty text is one empty word.
    word_ends = np.flatnonzero(joined == ord(" "))
    word_begins = np.concatenate([[0], word_ends[:-1] + 1])
    first_word = np.searchsorted(word_begins, begins)
    n_words = np.diff(np.append(first_word, len(word_begins)))
    n_sequences = np.maximum(n_words - WORDS + 1, 1)
    first = np.concatenate([[0], np.cumsum(n_sequences[:-1])])
    text_of = np.repeat(np.arange(len(texts)), n_sequences)
    begin_word = first_word[text_of] + np.arange(len(text_of)) - first[text_of]
    end_word = np.minimum(begin_word + WORDS - 1, (first_word + n_words - 1)[text_of])
    # A polynomial hash of the bytes between two places is a difference of two prefix sums, modulo 2^64.
    sums = np.zeros(len(joined) + 1, dtype=np.uint64)
    np.cumsum((joined.astype(np.uint64) + np.uint64(1)) * _powers(_BASE, len(joined)), out=sums[1:])
    begin, end = word_begins[begin_word], word_ends[end_word]
    hashes = (sums[end] - sums[begin]) * _powers(_INVERSE, len(joined) + 1)[begin]
    return _mixed(hashes), first


def _powers(base: int, count: int) -> _Numbers:
    """Return the first powers of a number modulo 2^64."""
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _mixed(hashes: _Numbers) -> npt.NDArray[np.uint32]:
    """Return 32 bits of each hash in which every bit of the hash counts (the finalizer of MurmurHash3)."""
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return (hashes >> np.uint64(32)).astype(np.uint32)


def near_pairs(found: Signatures, *, similarity: float) -> tuple[Ints, Ints]:
    """Return pairs of texts that share at least this much of their sequences, as two arrays of text numbers.

    Texts of one cluster need not all be paired with each other, but they are connected by pairs.

    Args:
        found: Signatures of the texts, `(n_texts, HASHES)`.
        similarity: Smallest share of equal numbers in two signatures.
    """
    # Four numbers of 16 bits are one of 64.
    bands = np.ascontiguousarray(found).view(np.uint64)
    ones, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for band in range(BANDS):
        order = np.argsort(bands[:, band], kind="stable")
        keys = bands[order, band]
        left = np.flatnonzero(keys[1:] == keys[:-1])
        for step in range(1, NEIGHBOURS + 1):
            if not len(left):
                break
            one, other = order[left], order[left + step]
            similar = _similar(found, one, other, similarity=similarity)
            ones.append(one[similar])
            others.append(other[similar])
            left = left[left + step + 1 < len(keys)]
            left = left[keys[left] == keys[left + step + 1]]
    return np.concatenate(ones), np.concatenate(others)


def _similar(found: Signatures, one: Ints, other: Ints, *, similarity: float) -> npt.NDArray[np.bool_]:
    parts = [np.zeros(0, np.bool_)]
    for start in range(0, len(one), _COMPARED):
        rows = slice(start, start + _COMPARED)
        equal = (found[one[rows]] == found[other[rows]]).sum(axis=1)
        parts.append(equal >= similarity * HASHES)
    return np.concatenate(parts)
