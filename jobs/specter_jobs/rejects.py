"""Rows that cannot be labelled, each with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.papers import PaperBatch, is_blank
from specter_jobs.shards import Shard

Reason = Literal[
    "invalid_unicode", "null_id", "missing_title", "missing_abstract", "duplicate_id", "not_english"
]  # in the order they are looked for: a row is rejected once, for the first

REJECT_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row_group", pa.int32()),
        ("row", pa.int64()),
        ("paper_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

Mask = npt.NDArray[np.bool_]


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
        numbers = [shard.start + row for row in rows]
        return pa.table(
            [
                [shard.file.name] * len(rows),
                [shard.file.group_of(number) for number in numbers],
                numbers,
                papers.table["paper_id"].take(pa.array(rows, pa.int64())),
                [self.reasons[row] for row in rows],
                [self.details.get(row) for row in rows],
            ],
            schema=REJECT_SCHEMA,
        )


def screen_columns(papers: PaperBatch, *, missing_abstract: Literal["reject", "title_only"]) -> Screening:
    """Reject the rows whose id, title or abstract is not there or not text."""
    screening = Screening(usable=np.ones(len(papers), dtype=np.bool_))
    screening.reject(papers.invalid_unicode, "invalid_unicode")
    screening.reject(is_blank(papers.table["paper_id"]), "null_id")
    screening.reject(is_blank(papers.table["title"]), "missing_title")
    if missing_abstract == "reject":
        screening.reject(is_blank(papers.table["abstract"]), "missing_abstract")
    return screening
