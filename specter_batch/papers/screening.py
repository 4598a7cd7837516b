"""Decides which papers cannot be labelled, each with its reason. The nightly job and the Python API share the rules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.options.screening import ScreeningRules
from specter_batch.papers.language import ENGLISH, MAX_CHARACTERS, UNDECIDED, EnglishFilter, are_plain_english
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.text import missing_ids, missing_values

Reason = Literal[
    "invalid_unicode", "null_id", "missing_title", "missing_abstract", "too_short", "duplicate_id", "not_english",
    "not_finite",
]  # fmt: skip  # in the order of the checks: a row is rejected once, for the first reason


# Number of papers whose language is detected together. The words of so many papers fit in a processor's cache.
LANGUAGE_ROWS = 1024

# What the rejects say about papers that the model gave no label.
NOT_FINITE_DETAIL = "the model gave NaN or infinity"


@dataclass(kw_only=True)
class Screening:
    """Which rows of some papers can be labelled, and why the others cannot.

    Attributes:
        usable: True for rows that are not rejected, `(n_rows,)` bool.
        reasons: Row -> reason of the rejection.
        details: Row -> more about the rejection, for some of the rejected rows.
    """

    usable: npt.NDArray[np.bool_]
    reasons: dict[int, Reason] = field(default_factory=dict)
    details: dict[int, str] = field(default_factory=dict)

    def reject(self, rows: npt.NDArray[np.bool_], reason: Reason) -> None:
        """Reject the rows `(n_rows,)` bool that are not rejected yet."""
        for row in np.flatnonzero(rows & self.usable).tolist():
            self.reasons[row] = reason
        self.usable &= ~rows

    def reject_rows(self, details: Mapping[int, str], reason: Reason) -> None:
        """Reject the rows with these numbers that are not rejected yet. `details` says more about each of them."""
        rows = np.zeros_like(self.usable)
        rows[list(details)] = True
        self.details |= {row: detail for row, detail in details.items() if self.usable[row]}
        self.reject(rows, reason)


def screen_columns(papers: PaperBatch, rules: ScreeningRules, *, ids_needed: bool = True) -> Screening:
    """Reject the rows whose id, title or abstract is missing, is not valid text, or is too short.

    Args:
        papers: The papers.
        rules: Settings that decide which papers can be labelled.
        ids_needed: False if a paper without an id can be labelled.
    """
    screening = Screening(usable=np.ones(len(papers), dtype=np.bool_))
    screening.reject(papers.invalid_unicode, "invalid_unicode")
    if ids_needed:
        screening.reject_rows(_missing(papers.table["paper_id"], missing_ids), "null_id")
    screening.reject_rows(_missing(papers.table["title"], missing_values), "missing_title")
    if rules.missing_abstract == "reject":
        screening.reject_rows(_missing(papers.table["abstract"], missing_values), "missing_abstract")
    if rules.min_characters:
        characters = _characters(papers.table["title"]) + _characters(papers.table["abstract"])
        short = np.flatnonzero(characters < rules.min_characters).tolist()
        screening.reject_rows({row: f"{characters[row]} characters" for row in short}, "too_short")
    return screening


def reject_foreign_languages(screening: Screening, papers: PaperBatch, english: EnglishFilter) -> int:
    """Reject the rows that are not in English, and return how many usable rows have too few words to be sure.

    Of a long text, only the beginning is read that the language is detected from.
    """
    foreign: dict[int, str] = {}
    undecided = 0
    for start in range(0, len(papers), LANGUAGE_ROWS):
        rows = start + np.flatnonzero(screening.usable[start : start + LANGUAGE_ROWS])
        texts = _heads(papers.table.slice(start, LANGUAGE_ROWS), rows - start)
        left = np.flatnonzero(~are_plain_english(texts))
        for row, text in zip(rows[left].tolist(), texts.take(pa.array(left)).to_pylist(), strict=True):
            language = english.language(text)
            if language == UNDECIDED:
                undecided += 1
            elif language != ENGLISH:
                foreign[row] = language
    screening.reject_rows(foreign, "not_english")
    return undecided


def _heads(papers: pa.Table, rows: npt.NDArray[np.int64]) -> pa.StringArray:
    """Return the beginnings of papers from which their language is detected: title and abstract, joined by a space."""
    columns = (pc.utf8_slice_codeunits(papers[name], 0, MAX_CHARACTERS) for name in ("title", "abstract"))
    heads = (pc.fill_null(column, "").combine_chunks().take(pa.array(rows)) for column in columns)
    return pc.utf8_slice_codeunits(pc.binary_join_element_wise(*heads, " "), 0, MAX_CHARACTERS)


def _missing(column: pa.ChunkedArray, rule: Callable[[pa.ChunkedArray], npt.NDArray[np.bool_]]) -> dict[int, str]:
    """Return the rows without a value, and what the column has instead: null, an empty text or white space."""
    rows = np.flatnonzero(rule(column))
    values = column.take(pa.array(rows)).to_pylist()
    descriptions = ("null" if value is None else "white space" if value else "empty" for value in values)
    return dict(zip(rows.tolist(), descriptions, strict=True))


def _characters(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the number of characters of each value without white space at its ends, `(n_papers,)`."""
    lengths = pc.fill_null(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0)
    return np.asarray(lengths.to_numpy(), dtype=np.int64)
