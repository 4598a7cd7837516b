"""Find rows that the model need not label: repeated ids, repeated texts, and texts that an earlier night labelled."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from specter_batch.papers.parquet import PaperBatch
from specter_jobs.database import allow_joins, opened_database
from specter_jobs.plan.audit_size import AuditChoice
from specter_jobs.plan.decisions import Decisions, DeduplicatedShard
from specter_jobs.plan.reuse_report import UnusableLabels
from specter_jobs.plan.shard_keys import KEYS, PLACES, RunKeys
from specter_jobs.plan.shards import Shard
from specter_jobs.plan.workload import Workload
from specter_jobs.screen.known_labels import KnownLabels


@dataclass(frozen=True, kw_only=True)
class StatementSize:
    """The number of shards in one SQL statement. The defaults need about 20 MB.

    A statement takes the same time for one row as for thousands. A night of small shards would otherwise spend most of
    its time on statements.
    """

    rows: int = 100_000
    shards: int = 1000


STATEMENT_SIZE = StatementSize()

# Ids and texts are first compared by a hash of 64 bits, because most of them occur once. Only the others are compared
# exactly, so that a group needs no text and little memory.
DUPLICATES = """
    CREATE TABLE duplicates AS
    WITH repeated AS (SELECT hash(paper_id) AS id_hash FROM rows GROUP BY id_hash HAVING count(*) > 1),
    candidates AS (SELECT paper_id, place FROM rows WHERE hash(paper_id) IN (FROM repeated)),
    firsts AS (SELECT paper_id, min(place) AS first FROM candidates GROUP BY paper_id)
    SELECT place, first FROM candidates JOIN firsts USING (paper_id) WHERE place > first ORDER BY place;
"""
COPIES = """
    CREATE TABLE copies AS
    WITH repeated AS (SELECT hash_low FROM rows GROUP BY hash_low HAVING count(*) > 1),
    candidates AS (
        SELECT hash_high, hash_low, place FROM rows SEMI JOIN repeated USING (hash_low)
        ANTI JOIN duplicates USING (place) ANTI JOIN known USING (place)
    ),
    firsts AS (SELECT hash_high, hash_low, min(place) AS first FROM candidates GROUP BY hash_high, hash_low)
    SELECT place, first FROM candidates JOIN firsts USING (hash_high, hash_low) WHERE place > first ORDER BY place;
"""

COUNTS = "SELECT (SELECT count(*) FROM known), (SELECT count(*) FROM copies)"
# A row is in at most one of the other tables.
FRESH = """
    SELECT (place >> 32)::INTEGER AS shard, sum(number)::BIGINT AS papers FROM (
        SELECT place, 1 AS number FROM rows
        UNION ALL SELECT place, -1 FROM duplicates
        UNION ALL SELECT place, -1 FROM known
        UNION ALL SELECT place, -1 FROM copies
    ) GROUP BY shard HAVING papers > 0
"""
# The numbers by which `AuditChoice` chooses among the papers that the model has to label.
AUDITED = """
    SELECT (hash_low::UHUGEINT * ?::UHUGEINT & 18446744073709551615::UHUGEINT)::UBIGINT AS number FROM rows
    ANTI JOIN duplicates USING (place) ANTI JOIN known USING (place) ANTI JOIN copies USING (place)
    ORDER BY number LIMIT 1 OFFSET ?
"""

# The first of neighbouring shards, and the first shard after them.
DECIDED = """
    SELECT (place & 4294967295)::INTEGER AS row, (place >> 32)::INTEGER AS shard, * FROM {table}
    WHERE place >= ?::BIGINT << 32 AND place < ?::BIGINT << 32 ORDER BY place
"""


class _Decided:
    """A table of decisions about neighbouring shards, with the columns `shard`, `row`, `place` and more."""

    def __init__(self, table: pa.Table) -> None:
        self._shard = table["shard"].to_numpy()
        self._table = table.drop_columns(["shard", "place"]).combine_chunks()
        self._none = self._table.schema.empty_table()

    def of(self, number: int) -> pa.Table:
        """Return the rows of a shard."""
        start, stop = np.searchsorted(self._shard, [number, number + 1])
        if start == stop:
            return self._none
        # The rows are copied, because a slice that is sent to another process would include the rows of all shards.
        return self._table.take(pa.array(np.arange(start, stop)))

    def firsts_of(self, number: int) -> Iterator[tuple[int, int]]:
        """Return the rows of a shard, each with the place of the first equal row."""
        table = self.of(number)
        return zip(table["row"].to_pylist(), table["first"].to_pylist(), strict=True)


class Deduplication:
    """Compares the rows of all shards, and keeps decisions about them in duckdb.

    - If several rows have the same id, the first usable one (it has id, title and abstract) is labelled.
    - A text that an earlier night labelled with the same model takes its label from there.
    - A text that is in the night several times is labelled once.

    The first row is that of the plan's order, so nothing depends on workers, restarts, or the order of `runs`.

    Args:
        shards: The shards of the plan, in its order.
        runs: The keys of all shards, in any order.
        known_labels: Labels of earlier nights.
        scratch: Folder for the tables. The caller removes it.
        advance: Callback that receives the number of rows of the shards that were read.
        statement: Number of shards in one statement.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        runs: Iterable[RunKeys],
        *,
        known_labels: KnownLabels,
        scratch: Path,
        advance: Callable[[int], None],
        statement: StatementSize = STATEMENT_SIZE,
    ) -> None:
        self._plan = shards
        self._kept: dict[int, PaperBatch] = {}
        self._neighbours = _neighbours(shards, statement)
        self._fetched: tuple[range, dict[str, _Decided]] = range(0), {}
        with ExitStack() as opened:
            self._database = opened.enter_context(opened_database(scratch))
            # All queries sort by place. Keeping the order of rows in between would need memory.
            self._database.execute("SET preserve_insertion_order = false")
            self._database.from_arrow(KEYS.empty_table()).create("rows")
            read = self._collect(runs, advance, statement)
            allow_joins(self._database, "rows")
            self._database.execute(DUPLICATES)
            known_labels.load(self._database)
            self._database.execute(COPIES)
            self.shards = [
                DeduplicatedShard(
                    shard=shard,
                    number=number,
                    rows_hash=rows_hash,
                    content=self._content(rows_hash, number),
                    kept_hash=kept,
                    error=error,
                )
                for number, (shard, (rows_hash, kept, error)) in enumerate(zip(shards, read, strict=True))
            ]
            self._open = opened.pop_all()

    def decisions(self, number: int) -> Decisions:
        """Return the decisions about the shard with this number."""
        numbers, decided = self._fetched
        if number not in numbers:
            numbers = self._neighbours[bisect_right(self._neighbours, number, key=lambda numbers: numbers.start) - 1]
            decided = self._fetch(numbers)
            self._fetched = numbers, decided
        return Decisions(
            duplicates={row: self._where(first) for row, first in decided["duplicates"].firsts_of(number)},
            known=decided["known"].of(number),
            copies={row: self._plan[first // PLACES].name for row, first in decided["copies"].firsts_of(number)},
        )

    def take_papers(self, number: int) -> PaperBatch | None:
        """Return the papers of a shard if they are still in memory, and forget them."""
        return self._kept.pop(number, None)

    def workload(self, unusable: Sequence[UnusableLabels]) -> Workload:
        """Count the night's papers by the source of their label.

        Args:
            unusable: Labels of earlier nights that cannot be copied.
        """
        ((reusable, copies),) = self._database.execute(COUNTS).fetchall()
        fresh = dict(self._database.execute(FRESH).fetchall())
        return Workload(reusable=reusable, copies=copies, fresh=fresh, unusable=unusable)

    def audit_choice(self, papers: int, *, key: int) -> AuditChoice | None:
        """Choose papers to audit, among those that the model has to label; None if none are to be audited.

        Args:
            papers: Number of papers to audit.
            key: Key of the night, from `night_key`.
        """
        if not papers:
            return None
        ((threshold,),) = self._database.execute(AUDITED, [key, papers - 1]).fetchall()
        return AuditChoice(key=key, threshold=threshold)

    def close(self) -> None:
        """Close the tables, and release the papers."""
        self._kept.clear()
        self._open.close()

    def _fetch(self, numbers: range) -> dict[str, _Decided]:
        limits = [numbers.start, numbers.stop]
        cursor = self._database.cursor()  # a separate cursor, because shards are prepared in another thread
        tables = {
            name: cursor.sql(DECIDED.format(table=name), params=limits).to_arrow_table()
            for name in ("duplicates", "known", "copies")
        }
        cursor.close()
        return {name: _Decided(table) for name, table in tables.items()}

    def _where(self, place: int) -> str:
        shard = self._plan[place // PLACES]
        return f"first in {shard.file.name} row {shard.start + place % PLACES}"

    def _collect(
        self, runs: Iterable[RunKeys], advance: Callable[[int], None], statement: StatementSize
    ) -> list[tuple[str, str, str | None]]:
        """Put the keys of all rows into the table `rows`.

        Returns:
            For each shard the hash of its rows, the hash of its kept columns, and the reason why it cannot be read.
        """
        read: list[tuple[str, str, str | None]] = [("", "", None)] * len(self._plan)
        tables: list[pa.Table] = []
        for run in runs:
            for keys in run.shards:
                read[keys.number] = keys.rows_hash, keys.kept_hash, keys.error
                if keys.papers is not None:
                    self._kept[keys.number] = keys.papers
                if keys.keys is not None:
                    tables.append(keys.keys)
            if len(tables) >= statement.shards or sum(table.num_rows for table in tables) >= statement.rows:
                self._insert(tables)
                tables = []
            advance(sum(self._plan[keys.number].rows for keys in run.shards))
        self._insert(tables)
        return read

    def _insert(self, tables: Sequence[pa.Table]) -> None:
        if tables:
            self._database.from_arrow(pa.concat_tables(tables)).insert_into("rows")

    def _content(self, rows: str, number: int) -> str:
        decisions = self.decisions(number)
        digest = hashlib.blake2b(rows.encode(), digest_size=16)
        for mapping in (decisions.duplicates, decisions.copies):
            digest.update("".join(f"{row}:{where};" for row, where in mapping.items()).encode() + b"\n")
        digest.update(str(decisions.known.select(["row", "label_id", "score"]).to_pydict()).encode())
        return digest.hexdigest()


def _neighbours(shards: Sequence[Shard], statement: StatementSize) -> list[range]:
    """Group neighbouring shards, by number, for one statement each."""
    starts, rows = [0], 0
    for number, shard in enumerate(shards):
        rows += shard.rows
        if number > starts[-1] and (rows > statement.rows or number - starts[-1] == statement.shards):
            starts.append(number)
            rows = shard.rows
    return [range(start, stop) for start, stop in pairwise([*starts, len(shards)]) if start < stop]
