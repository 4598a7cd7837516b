"""The survey before the night's work: one pass over the input for content hashes and duplicate ids."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.errors import ShardError
from specter_batch.papers import PaperBatch
from specter_jobs.config import NightConfig
from specter_jobs.rejects import screen_columns
from specter_jobs.shards import Shard, ShardReader

# duckdb spills to disk beyond this; ids of a night of any size fit.
DUCKDB_MEMORY = "1GB"


@dataclass(frozen=True, kw_only=True)
class SurveyedShard:
    """A shard and what the survey found of it.

    Attributes:
        content: Hash of its rows and of which are duplicates: equal for equal work only.
        duplicates: Row within the shard -> where the paper of that id stands first.
        error: Why it cannot be read; the other fields are empty then.
    """

    shard: Shard
    content: str
    duplicates: Mapping[int, str]
    error: str | None = None


def survey(
    shards: Sequence[Shard], config: NightConfig, *, scratch: Path, advance: Callable[[int], None]
) -> list[SurveyedShard]:
    """Read every shard once, in order.

    Of rows with the same id the first usable one (it has id, title and abstract) is labelled; the order is that of
    the plan, so it does not depend on workers or restarts. The ids are compared in duckdb, which spills to `scratch`.

    Args:
        shards: Of the plan, in its order.
        config: Of the night.
        scratch: Folder for the id table; removed by the caller.
        advance: Told the rows of each shard that was read.
    """
    reader = ShardReader()
    contents: list[str] = []
    errors: dict[int, str] = {}
    with duckdb.connect(str(scratch / "ids.duckdb")) as database:
        database.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'")
        database.execute("CREATE TABLE ids (paper_id VARCHAR, shard INTEGER, row INTEGER)")
        for number, shard in enumerate(shards):
            try:
                papers = reader.read(shard)
            except ShardError as error:
                errors[number] = str(error)
                contents.append("")
            else:
                contents.append(_content_hash(papers))
                usable = screen_columns(papers, missing_abstract=config.missing_abstract).usable
                database.from_arrow(_id_rows(papers, usable, number)).insert_into("ids")
            advance(shard.rows)
        duplicates = _duplicates(database, shards)
    return [
        SurveyedShard(
            shard=shard,
            content=_with_duplicates(contents[number], duplicates.get(number, {})),
            duplicates=duplicates.get(number, {}),
            error=errors.get(number),
        )
        for number, shard in enumerate(shards)
    ]


def _id_rows(papers: PaperBatch, usable: np.ndarray[tuple[int], np.dtype[np.bool_]], shard: int) -> pa.Table:
    rows = np.flatnonzero(usable)
    ids = pc.utf8_trim_whitespace(papers.table["paper_id"].take(pa.array(rows)))
    return pa.table(
        {"paper_id": ids, "shard": pa.array(np.full(len(rows), shard, np.int32)), "row": pa.array(rows, pa.int32())}
    )


def _duplicates(database: duckdb.DuckDBPyConnection, shards: Sequence[Shard]) -> dict[int, dict[int, str]]:
    found: dict[int, dict[int, str]] = {}
    cursor = database.execute(
        """
        WITH first AS (
            SELECT paper_id, min((shard::BIGINT << 32) + row) AS place FROM ids GROUP BY paper_id HAVING count(*) > 1
        )
        SELECT ids.shard, ids.row, first.place >> 32, first.place & 4294967295
        FROM ids JOIN first USING (paper_id) WHERE (ids.shard::BIGINT << 32) + ids.row > first.place
        """
    )
    while rows := cursor.fetchmany(10_000):
        for shard, row, first_shard, first_row in rows:
            first = shards[first_shard]
            found.setdefault(shard, {})[row] = f"first in {first.file.name} row {first.start + first_row}"
    return found


def _content_hash(papers: PaperBatch) -> str:
    """Hash the canonical rows: the same for the same papers, whatever the file's compression or column types."""
    digest = hashlib.blake2b(digest_size=16)
    for column in papers.table.columns:
        values = column.to_pylist()
        lengths = [-1 if value is None else len(value) for value in values]
        digest.update(np.array(lengths, dtype="<i8").tobytes())
        digest.update("".join(value or "" for value in values).encode())
    digest.update(papers.invalid_unicode.tobytes())
    return digest.hexdigest()


def _with_duplicates(content: str, duplicates: Mapping[int, str]) -> str:
    digest = hashlib.blake2b(content.encode(), digest_size=16)
    for row in sorted(duplicates):
        digest.update(f"{row}:{duplicates[row]};".encode())
    return digest.hexdigest()
