"""Rows that cannot be labelled, each with its reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.text import missing_ids, missing_values
from specter_jobs.output.schema import REJECT_SCHEMA
from specter_jobs.plan.sections import LabelRules
from specter_jobs.plan.shards import Mask, Shard

Reason = Literal[
    "invalid_unicode", "null_id", "missing_title", "missing_abstract", "too_short", "duplicate_id", "not_english",
    "not_finite",
]  # fmt: skip  # in the order they are looked for: a row is rejected once, for the first


@dataclass(kw_only=True)
class Screening:
    """Which rows of a shard are still in, and why the others are not.

    Attributes:
        usable: `(n_rows,)` bool.
        reasons: By row, for the rejected.
        details: By row, where there is more to say.
    """

    usable: Mask
    reasons: dict[int, Reason] = field(default_factory=dict)
    details: dict[int, str] = field(default_factory=dict)

    def reject(self, rows: Mask, reason: Reason) -> None:
        """Take rows `(n_rows,)` out, those that are still in."""
        for row in np.flatnonzero(rows & self.usable).tolist():
            self.reasons[row] = reason
        self.usable &= ~rows

    def reject_rows(self, details: Mapping[int, str], reason: Reason) -> None:
        """Take the rows with these numbers out, those that are still in, each with more to say."""
        rows = np.zeros_like(self.usable)
        rows[list(details)] = True
        self.details |= {row: detail for row, detail in details.items() if self.usable[row]}
        self.reject(rows, reason)

    def table(self, shard: Shard, papers: PaperBatch) -> pa.Table:
        """Return the rejected rows as `REJECT_SCHEMA`; `row` counts from the beginning of the file."""
        rows = sorted(self.reasons)
        return reject_table(
            shard,
            rows,
            paper_ids=papers.table["paper_id"].take(pa.array(rows, pa.int64())),
            reasons=[self.reasons[row] for row in rows],
            details=[self.details.get(row) for row in rows],
        )


def reject_table(
    shard: Shard,
    rows: Sequence[int],
    *,
    paper_ids: pa.ChunkedArray,
    reasons: Sequence[Reason],
    details: Sequence[str | None],
) -> pa.Table:
    """Return rejected rows as `REJECT_SCHEMA`.

    Args:
        shard: The shard that holds the rows.
        rows: Rows within the shard; all sequences go with them by position.
        paper_ids: Ids of the papers.
        reasons: Why each is rejected.
        details: What more there is to say, or None.
    """
    numbers = [shard.start + row for row in rows]
    groups = [shard.file.group_of(number) for number in numbers]
    columns = [[shard.file.name] * len(numbers), groups, numbers, paper_ids, reasons, details]
    return pa.table(columns, schema=REJECT_SCHEMA)


def screen_columns(papers: PaperBatch, rules: LabelRules) -> Screening:
    """Reject the rows whose id, title or abstract is not there, not text, or too little of it."""
    screening = Screening(usable=np.ones(len(papers), dtype=np.bool_))
    screening.reject(papers.invalid_unicode, "invalid_unicode")
    screening.reject_rows(_missing(papers.table["paper_id"], missing_ids), "null_id")
    screening.reject_rows(_missing(papers.table["title"], missing_values), "missing_title")
    if rules.missing_abstract == "reject":
        screening.reject_rows(_missing(papers.table["abstract"], missing_values), "missing_abstract")
    if rules.min_characters:
        characters = _characters(papers.table["title"]) + _characters(papers.table["abstract"])
        short = np.flatnonzero(characters < rules.min_characters).tolist()
        screening.reject_rows({row: f"{characters[row]} characters" for row in short}, "too_short")
    return screening


def _missing(column: pa.ChunkedArray, rule: Callable[[pa.ChunkedArray], Mask]) -> dict[int, str]:
    """Return the rows without a value, and what is there instead: null, empty or white space."""
    rows = np.flatnonzero(rule(column))
    values = column.take(pa.array(rows)).to_pylist()
    descriptions = ("null" if value is None else "white space" if value else "empty" for value in values)
    return dict(zip(rows.tolist(), descriptions, strict=True))


def _characters(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return `(n_papers,)` the characters of each value, without white space at its ends."""
    lengths = pc.fill_null(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0)
    return np.asarray(lengths.to_numpy(), dtype=np.int64)
