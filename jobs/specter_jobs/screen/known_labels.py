"""Labels of earlier nights by text hash, for the deduplication of this night's papers."""

# Annotations that are evaluated would keep duckdb's types alive at the end of the process, of which it warns.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from specter_jobs.database import database_schema, register_parquet
from specter_jobs.output.schema import EMBEDDING, LOGITS, MARGIN, PROBABILITIES, RUNNER_UP, vector_type

if TYPE_CHECKING:
    from specter_jobs.database import Database

# Texts of this night that an earlier night labelled.
LENT = """
    CREATE TABLE lent AS
    SELECT * FROM (
        SELECT
            TRY_CAST('0x' || left(text_hash, 16) AS UBIGINT) AS hash_high,
            TRY_CAST('0x' || right(text_hash, 16) AS UBIGINT) AS hash_low,
            * EXCLUDE (text_hash)
        FROM labelled WHERE {condition}
    ) SEMI JOIN rows USING (hash_high, hash_low)
"""
# A text with several labels takes one with logits if there is one. Only row numbers are grouped, because lists in a
# GROUP BY have to fit in memory.
EARLIER = """
    CREATE TABLE earlier AS
    WITH chosen AS (
        SELECT arg_min(rowid, (logits IS NULL, probabilities IS NULL, margin IS NULL, label_id, score, rowid)) AS number
        FROM lent GROUP BY hash_high, hash_low
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
        embedding_size: Length of the vectors that this night writes; labels without vectors can then not be used. None
            if this night writes no vectors.
    """

    files: Sequence[Path]
    n_labels: int
    needs_probabilities: bool = False
    embedding_size: int | None = None

    @property
    def _optional(self) -> pa.Schema:
        values = pa.list_(pa.float32(), self.n_labels)
        vectors = [] if self.embedding_size is None else [(EMBEDDING, vector_type(self.embedding_size))]
        ranking = [(RUNNER_UP, pa.string()), (MARGIN, pa.float64())]
        return pa.schema([*ranking, (LOGITS, values), (PROBABILITIES, values), *vectors])

    @property
    def _condition(self) -> str:
        """The rows that are of use. Version 0.1.0 wrote papers as labelled although their score is NaN."""
        conditions = ["isfinite(score)"]
        if self.needs_probabilities:
            conditions.append("(logits IS NOT NULL OR probabilities IS NOT NULL)")
        if self.embedding_size is not None:
            conditions.append("embedding IS NOT NULL")
        return " AND ".join(conditions)

    def load(self, database: Database) -> None:
        """Make the table `earlier`: a label for each text of the table `rows` that an earlier night labelled.

        Its columns are `hash_high, hash_low, label_id, score, runner_up, margin, logits, probabilities`, and
        `embedding` if tonight writes vectors. Those from `runner_up` to `probabilities` are null if they are not known.
        """
        columns = ["text_hash", "label_id", "score"]
        if self.files:
            with register_parquet(database, "labelled", self.files, columns, optional=self._optional):
                database.execute(LENT.format(condition=self._condition))
            database.execute(EARLIER)
            database.execute("DROP TABLE lent")
        else:
            hashes = [("hash_high", pa.uint64()), ("hash_low", pa.uint64())]
            types = pa.schema([*hashes, ("label_id", pa.int32()), ("score", pa.float64())])
            database.from_arrow(database_schema(pa.schema([*types, *self._optional])).empty_table()).create("earlier")
