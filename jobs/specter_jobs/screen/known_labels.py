"""Labels of earlier nights by text hash, for the deduplication of this night's papers."""

# Annotations that are evaluated would keep duckdb's types alive at the end of the process, of which it warns.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from specter_jobs.database import register_parquet
from specter_jobs.output.schema import LOGITS, PROBABILITIES

if TYPE_CHECKING:
    from specter_jobs.database import Database

# Texts of this night that an earlier night labelled. Version 0.1.0 wrote papers for which the model gave NaN as
# labelled, with a NaN score. The model labels these papers again.
LENT = """
    CREATE TABLE lent AS SELECT * FROM labelled SEMI JOIN rows USING (text_hash)
    WHERE isfinite(score) AND (NOT {needs_probabilities} OR logits IS NOT NULL OR probabilities IS NOT NULL)
"""
# A text with several labels takes one with logits if there is one. Only row numbers are grouped, because lists in a
# GROUP BY have to fit in memory.
EARLIER = """
    CREATE TABLE earlier AS
    WITH chosen AS (
        SELECT arg_min(rowid, (logits IS NULL, probabilities IS NULL, label_id, score, rowid)) AS number
        FROM lent GROUP BY text_hash
    )
    SELECT lent.* FROM lent JOIN chosen ON lent.rowid = chosen.number
"""


@dataclass(frozen=True, kw_only=True)
class KnownLabels:
    """Labels of earlier nights.

    Attributes:
        files: Local label files that the same model wrote.
        n_labels: The number of labels of the model.
        needs_probabilities: True if labels without logits and probabilities cannot be used in this night.
    """

    files: Sequence[Path]
    n_labels: int
    needs_probabilities: bool = False

    @property
    def _lists(self) -> pa.Schema:
        values = pa.list_(pa.float32(), self.n_labels)
        return pa.schema([(LOGITS, values), (PROBABILITIES, values)])

    def load(self, database: Database) -> None:
        """Make the table `earlier`: a label for each text of the table `rows` that an earlier night labelled.

        Its columns are `text_hash, label_id, score, logits, probabilities`; the last two are null if not known.
        """
        columns = ["text_hash", "label_id", "score"]
        if self.files:
            with register_parquet(database, "labelled", self.files, columns, optional=self._lists):
                database.execute(LENT.format(needs_probabilities=str(self.needs_probabilities).lower()))
            database.execute(EARLIER)
            database.execute("DROP TABLE lent")
        else:
            types = pa.schema([("text_hash", pa.string()), ("label_id", pa.int32()), ("score", pa.float64())])
            database.from_arrow(pa.schema([*types, *self._lists]).empty_table()).create("earlier")
