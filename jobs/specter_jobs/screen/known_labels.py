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

# Papers of this night whose text an earlier night labelled, each with all of its labels. The join keeps `rows`, because
# it is narrow. duckdb does not know how many labels come, so it cannot choose the smaller side.
LENT = """
    SET disabled_optimizers = 'join_order,build_side_probe_side';
    CREATE TABLE lent AS
    SELECT * EXCLUDE (hash_high, hash_low) FROM (
        SELECT
            TRY_CAST('0x' || left(text_hash, 16) AS UBIGINT) AS hash_high,
            TRY_CAST('0x' || right(text_hash, 16) AS UBIGINT) AS hash_low,
            * EXCLUDE (text_hash)
        FROM labelled WHERE {condition}
    ) JOIN (SELECT hash_high, hash_low, place FROM rows) USING (hash_high, hash_low);
    RESET disabled_optimizers;
"""
# A paper with several labels takes one with logits if there is one, and the first of equal ones. Most papers have one
# label, so the labels that are not taken are deleted, and the rest is not grouped.
KNOWN = """
    CREATE TABLE several AS SELECT place FROM lent GROUP BY place HAVING count(*) > 1;
    CREATE TABLE others AS
    SELECT place, number FROM lent SEMI JOIN several USING (place)
    EXCEPT
    SELECT place, arg_min(number, (logits IS NULL, probabilities IS NULL, margin IS NULL, label_id, score, number))
    FROM lent SEMI JOIN several USING (place) GROUP BY place;

    DELETE FROM lent USING others WHERE lent.place = others.place AND lent.number = others.number;
    DELETE FROM lent WHERE place IN (SELECT place FROM duplicates);
    CREATE TABLE known AS SELECT * EXCLUDE (number) FROM lent ORDER BY place;
    DROP TABLE lent;
    DROP TABLE several;
    DROP TABLE others;
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
        """Make the table `known`: a label for each row of the table `rows` whose text an earlier night labelled.

        Rows of the table `duplicates` are left out. The columns are `place, label_id, score, runner_up, margin, logits,
        probabilities`, and `embedding` if tonight writes vectors. Those from `runner_up` to `probabilities` are null if
        they are not known.
        """
        columns = ["text_hash", "label_id", "score"]
        if self.files:
            with register_parquet(database, "labelled", self.files, columns, optional=self._optional, number="number"):
                database.execute(LENT.format(condition=self._condition))
            database.execute(KNOWN)
        else:
            types = [("label_id", pa.int32()), ("score", pa.float64()), *self._optional, ("place", pa.int64())]
            database.from_arrow(database_schema(pa.schema(types)).empty_table()).create("known")
