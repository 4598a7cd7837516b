"""Find rows that the model need not label: repeated ids, repeated texts, and texts that an earlier night labelled."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from specter_batch.errors import ShardError
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.screening import screen_columns
from specter_batch.papers.text import paper_texts, text_hash
from specter_jobs.database import opened_database
from specter_jobs.plan.audit_size import AUDIT_DIGITS
from specter_jobs.plan.decisions import Decisions, DeduplicatedShard
from specter_jobs.plan.reuse_report import UnusableLabels
from specter_jobs.plan.sections import LabelRules
from specter_jobs.plan.shards import Mask, Shard
from specter_jobs.plan.workload import Workload
from specter_jobs.screen.known_labels import KnownLabels
from specter_jobs.screen.shard_reader import ShardReader, content_hash, kept_hash


@dataclass(frozen=True, kw_only=True)
class StatementSize:
    """The number of shards in one SQL statement. The defaults need about 20 MB.

    A statement takes the same time for one row as for thousands. A night of small shards would otherwise spend most of
    its time on statements.
    """

    rows: int = 100_000
    shards: int = 1000


STATEMENT_SIZE = StatementSize()

# Bytes of papers that stay in memory until they are labelled, about 30,000 short abstracts. The others are read again
# from the input, which takes less than a hundredth of the time of labelling them.
KEPT_BYTES = 16 << 20

# The place of a row in the night is the number of its shard times this factor, plus its row in the shard.
PLACES = 1 << 32

DECIDE = """
    CREATE TABLE duplicates AS
    WITH firsts AS (SELECT paper_id, min(place) AS first FROM rows GROUP BY paper_id HAVING count(*) > 1)
    SELECT shard, row, place, first FROM rows JOIN firsts USING (paper_id) WHERE place > first ORDER BY place;

    CREATE TABLE known AS
    SELECT shard, row, place, earlier.* EXCLUDE (text_hash)
    FROM rows ANTI JOIN duplicates USING (place) JOIN earlier USING (text_hash) ORDER BY place;

    CREATE TABLE copies AS
    WITH unknown AS (SELECT * FROM rows ANTI JOIN duplicates USING (place) ANTI JOIN known USING (place)),
    firsts AS (SELECT text_hash, min(place) AS first FROM unknown GROUP BY text_hash HAVING count(*) > 1)
    SELECT shard, row, place, first FROM unknown JOIN firsts USING (text_hash) WHERE place > first ORDER BY place;
"""

COUNTS = "SELECT (SELECT count(*) FROM known), (SELECT count(*) FROM copies)"
FRESH = """
    SELECT shard, count(*) FROM rows
    ANTI JOIN duplicates USING (place) ANTI JOIN known USING (place) ANTI JOIN copies USING (place) GROUP BY shard
"""
# The end of a text hash orders the papers that the model has to label at random.
AUDITED = """
    SELECT right(text_hash, ?) AS digits FROM rows
    ANTI JOIN duplicates USING (place) ANTI JOIN known USING (place) ANTI JOIN copies USING (place)
    ORDER BY digits LIMIT 1 OFFSET ?
"""

# The first and the last of neighbouring shards.
DECIDED = "SELECT * FROM {table} WHERE shard BETWEEN ? AND ? ORDER BY place"


class _Decided:
    """A table of decisions about neighbouring shards, with the columns `shard`, `row`, `place` and more."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table.combine_chunks()
        self._shard = table["shard"].to_numpy()

    def of(self, number: int) -> pa.Table:
        """Return the rows of a shard."""
        start, stop = np.searchsorted(self._shard, [number, number + 1])
        # The rows are copied, because a slice that is sent to another process would include the rows of all shards.
        return self._table.take(pa.array(np.arange(start, stop))).drop_columns(["shard", "place"])

    def firsts_of(self, number: int) -> Iterator[tuple[int, int]]:
        """Return the rows of a shard, each with the place of the first equal row."""
        table = self.of(number)
        return zip(table["row"].to_pylist(), table["first"].to_pylist(), strict=True)


class Deduplication:
    """Reads every shard once, in order, and keeps decisions about its rows in duckdb.

    - If several rows have the same id, the first usable one (it has id, title and abstract) is labelled.
    - A text that an earlier night labelled with the same model takes its label from there.
    - A text that is in the night several times is labelled once.

    Shards are read in the order of the plan, so nothing depends on workers or restarts.

    Args:
        shards: The shards of the plan, in its order.
        rules: Settings that decide which papers can be labelled.
        template: Template that joins title and abstract to one text.
        known_labels: Labels of earlier nights.
        scratch: Folder for the tables. The caller removes it.
        advance: Callback that receives the number of rows of each shard that was read.
        statement: Number of shards in one statement.
        kept_bytes: Maximum bytes of papers that stay in memory for `take_papers`.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        rules: LabelRules,
        *,
        template: str,
        known_labels: KnownLabels,
        scratch: Path,
        advance: Callable[[int], None],
        statement: StatementSize = STATEMENT_SIZE,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._plan = shards
        self._kept: dict[int, PaperBatch] = {}
        self._room = kept_bytes
        self._open = ExitStack()
        self._database = self._open.enter_context(opened_database(scratch))
        self._database.execute(
            "CREATE TABLE rows (paper_id VARCHAR, text_hash VARCHAR, shard INTEGER, row INTEGER, place BIGINT)"
        )
        self._neighbours = _neighbours(shards, statement)
        self._fetched: tuple[range, dict[str, _Decided]] = range(0), {}
        hashes, kept, errors = self._read(rules, template, advance)
        known_labels.load(self._database)
        self._database.execute(DECIDE)
        self.shards = [
            DeduplicatedShard(
                shard=shard,
                number=number,
                rows_hash=hashes[number],
                content=self._content(hashes[number], number),
                kept_hash=kept[number],
                error=errors.get(number),
            )
            for number, shard in enumerate(shards)
        ]

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

    def audit_threshold(self, papers: int) -> str | None:
        """Return the largest end of a text hash among the papers to audit; None if none are to be audited.

        The choice depends on the texts of the night alone, so restarts, workers and shards make the same one.

        Args:
            papers: Number of papers to audit, among those that the model has to label.
        """
        if not papers:
            return None
        ((threshold,),) = self._database.execute(AUDITED, [AUDIT_DIGITS, papers - 1]).fetchall()
        return str(threshold)

    def close(self) -> None:
        """Close the tables, and release the papers."""
        self._kept.clear()
        self._open.close()

    def _fetch(self, numbers: range) -> dict[str, _Decided]:
        limits = [numbers[0], numbers[-1]]
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

    def _read(
        self, rules: LabelRules, template: str, advance: Callable[[int], None]
    ) -> tuple[list[str], list[str], dict[int, str]]:
        reader = ShardReader()
        hashes: list[str] = []
        kept: list[str] = []
        errors: dict[int, str] = {}
        for numbers in self._neighbours:
            tables: list[pa.Table] = []
            for number in numbers:
                shard = self._plan[number]
                try:
                    papers = reader.read(shard)
                except ShardError as error:
                    errors[number] = str(error)
                    hashes.append("")
                    kept.append("")
                else:
                    hashes.append(content_hash(papers))
                    kept.append(kept_hash(papers))
                    usable = screen_columns(papers, rules).usable
                    tables.append(_row_table(papers, usable, template, number))
                    self._keep(number, papers)
                advance(shard.rows)
            if tables:
                self._database.from_arrow(pa.concat_tables(tables)).insert_into("rows")
        return hashes, kept, errors

    def _keep(self, number: int, papers: PaperBatch) -> None:
        if papers.nbytes <= self._room:
            self._room -= papers.nbytes
            self._kept[number] = papers

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


def _row_table(papers: PaperBatch, usable: Mask, template: str, shard: int) -> pa.Table:
    rows = np.flatnonzero(usable)
    ids = papers.table["paper_id"].take(pa.array(rows)).to_pylist()
    hashes = [text_hash(text) for text in paper_texts(papers.table, template, rows=rows)]
    return pa.table(
        {
            "paper_id": pa.array([value.strip() for value in ids], pa.string()),
            "text_hash": pa.array(hashes, pa.string()),
            "shard": pa.array(np.full(len(rows), shard), pa.int32()),
            "row": pa.array(rows, pa.int32()),
            "place": pa.array(shard * PLACES + rows, pa.int64()),
        }
    )
