"""What became of each paper from one night to the next: joined by id in a database that may be larger than memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from specter_jobs.database import allow_joins, opened_database

# The margin below which a label is nearly a tie: its two best labels have almost the same probability.
NEAR_TIE_MARGIN = 0.1
UNCHANGED, WITHOUT_LABEL = "unchanged", "without_label"
# What can have changed a paper's label. Each changed paper has exactly one cause: the first one that applies.
CAUSES: Mapping[str, str] = {
    "new": "not in the earlier night",
    "gone": "not in the later night",
    "rejected_now": "rejected in the later night",
    "rejected_before": "rejected in the earlier night",
    "failed_now": "its shard failed in the later night",
    "failed_before": "its shard failed in the earlier night",
    "text_changed": "title or abstract changed",
    "model_changed": "same text, another bundle",
    "near_tie": "both labels were almost as likely",
    "graph_changed": "same bundle, another graph or device",
    "unexplained": "same text and model; run verify",
}
# What is compared of a row, and its type in the database. A file is stored as its number, which takes less room.
COMPARED = {
    "status": "VARCHAR",
    "label": "VARCHAR",
    "score": "DOUBLE",
    "runner_up": "VARCHAR",
    "margin": "DOUBLE",
    "reject_reason": "VARCHAR",
    "text_hash": "VARCHAR",
    "file": "INTEGER",
    "row": "BIGINT",
}
SIDES = ("before", "now")
_ARROW = {"VARCHAR": pa.string(), "DOUBLE": pa.float64(), "INTEGER": pa.int32(), "BIGINT": pa.int64()}
_KINDS = {"near_tie": pa.bool_(), **{name: _ARROW[kind] for name, kind in COMPARED.items()}}
# The columns of the changed papers.
CHANGED_SCHEMA = pa.schema(
    [
        ("paper_id", pa.string()),
        ("title", pa.string()),
        ("cause", pa.string()),
        ("is_near_tie", pa.bool_()),
        *((f"{side}_{name}", pa.string() if name == "file" else _KINDS[name]) for name in COMPARED for side in SIDES),
    ]
)
# Rows that are read from the database, or written to it, at once.
_ROWS_AT_ONCE = 50_000

# Copies of an id are paired in their order, and a copy with a label comes first. A row without an id has no partner.
_PAIRED = """
SELECT coalesce(before_id, now_id) AS paper_id, {columns},
    coalesce(before_runner_up = now_label AND now_runner_up = before_label
        AND before_margin < $near_tie AND now_margin < $near_tie, FALSE) AS is_near_tie
FROM (SELECT *, row_number() OVER (PARTITION BY before_id ORDER BY before_label IS NULL, rowid) AS before_copy
      FROM rows_before)
FULL JOIN (SELECT *, row_number() OVER (PARTITION BY now_id ORDER BY now_label IS NULL, rowid) AS now_copy
      FROM rows_now)
ON before_id = now_id AND before_copy = now_copy
"""
_CAUSES = """
CREATE TABLE pairs AS SELECT *, CASE
    WHEN before_label IS NULL AND now_label IS NULL THEN 'without_label'
    WHEN before_label = now_label THEN 'unchanged'
    WHEN before_status IS NULL THEN 'new'
    WHEN now_status IS NULL THEN 'gone'
    WHEN now_status = 'rejected' THEN 'rejected_now'
    WHEN before_status = 'rejected' THEN 'rejected_before'
    WHEN now_status = 'failed' THEN 'failed_now'
    WHEN before_status = 'failed' THEN 'failed_before'
    WHEN $compares_texts AND before_text_hash <> now_text_hash THEN 'text_changed'
    WHEN $other_bundle THEN 'model_changed'
    WHEN is_near_tie THEN 'near_tie'
    WHEN $other_model THEN 'graph_changed'
    ELSE 'unexplained' END AS cause
FROM ({paired})
"""
_IS_CHANGED = f"cause NOT IN ('{UNCHANGED}', '{WITHOUT_LABEL}')"


class Changes:
    """The papers of two nights in pairs, each with the cause of its change. Made by `paired_rows`."""

    def __init__(self, database: Any, columns: Sequence[str]) -> None:
        self._database = database
        self._columns = columns

    def counts(self) -> list[tuple[str, int, int, int, int]]:
        """Return for each cause: papers, those that were near ties, those with a label before, and those with one now.

        `UNCHANGED` and `WITHOUT_LABEL` are among the causes.
        """
        query = """SELECT cause, count(*), count(*) FILTER (is_near_tie), count(before_label), count(now_label)
                   FROM pairs GROUP BY cause ORDER BY cause"""
        return list(self._database.execute(query).fetchall())

    def rows(self) -> tuple[int, int]:
        """Return how many rows of the earlier and of the later night are in the pairs."""
        found = self._database.execute("SELECT count(before_status), count(now_status) FROM pairs").fetchone()
        return (0, 0) if found is None else (int(found[0]), int(found[1]))

    def same_texts(self) -> int:
        """Return how many papers with a label in both nights have the same text in both."""
        query = "SELECT count(*) FROM pairs WHERE before_text_hash = now_text_hash"
        found = self._database.execute(query).fetchone()
        return 0 if found is None else int(found[0])

    def transitions(self, most: int) -> list[tuple[str, str, int]]:
        """Return the most frequent pairs of an earlier and a later label, and the number of papers of each."""
        query = """SELECT before_label, now_label, count(*) AS papers FROM pairs WHERE before_label <> now_label
                   GROUP BY ALL ORDER BY papers DESC, before_label, now_label LIMIT $most"""
        return list(self._database.execute(query, {"most": most}).fetchall())

    def changed(self, *, first: int | None = None) -> Iterator[pa.Table]:
        """Yield the changed papers, in the order of the later night's input and then of the earlier night's.

        Args:
            first: Yield only so many: those whose label changed with the highest scores in both nights.
        """
        order, limit = "now_file, now_row, before_file, before_row", ""
        if first is not None:
            order, limit = f"least(before_score, now_score) DESC NULLS LAST, {order}", f"LIMIT {first}"
        names = ["paper_id", "cause", "is_near_tie", *self._columns]
        query = f"SELECT {', '.join(names)} FROM pairs WHERE {_IS_CHANGED} ORDER BY {order} {limit}"  # noqa: S608 - ours
        result = self._database.execute(query)
        while rows := result.fetchmany(_ROWS_AT_ONCE):
            columns = zip(*rows, strict=True)
            kinds = [_KINDS.get(name.partition("_")[2], pa.string()) for name in names]
            yield pa.table([pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)], names=names)


@contextmanager
def paired_rows(
    scratch: Path,
    before: Iterable[pa.Table],
    now: Iterable[pa.Table],
    *,
    near_tie: float,
    compares_texts: bool,
    other_bundle: bool,
    other_model: bool,
) -> Iterator[Changes]:
    """Pair the rows of two nights by id and give each pair the cause of its change.

    Args:
        scratch: A folder for what does not fit into memory.
        before: Rows of the earlier night: `paper_id` and the columns `COMPARED`, with the number of the file.
        now: Rows of the later night.
        near_tie: Margin below which a label is nearly a tie.
        compares_texts: False if the two nights joined title and abstract in different ways, so that hashes of texts
            cannot be compared.
        other_bundle: True if another bundle labelled the later night.
        other_model: True if another bundle, graph or device labelled the later night.
    """
    with opened_database(scratch) as database:
        for side, tables in zip(SIDES, (before, now), strict=True):
            columns = ", ".join(f"{side}_{name} {kind}" for name, kind in COMPARED.items())
            database.execute(f"CREATE TABLE rows_{side} ({side}_id VARCHAR, {columns})")
            for table in _gathered(tables):
                database.register("arrived", table.select(["paper_id", *COMPARED]))
                database.execute(f"INSERT INTO rows_{side} SELECT * FROM arrived")  # noqa: S608 - ours
                database.unregister("arrived")
        allow_joins(database, *(f"rows_{side}" for side in SIDES))
        names = [f"{side}_{name}" for name in COMPARED for side in SIDES]
        paired = _PAIRED.format(columns=", ".join(names))
        settings: dict[str, Any] = {"near_tie": near_tie, "compares_texts": compares_texts}
        settings |= {"other_bundle": other_bundle, "other_model": other_model}
        database.execute(_CAUSES.format(paired=paired), settings)
        yield Changes(database, names)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join small tables, because the database takes few large ones faster."""
    parts: list[pa.Table] = []
    for table in tables:
        parts.append(table)
        if sum(map(len, parts)) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(parts)
            parts = []
    if parts:
        yield pa.concat_tables(parts)
