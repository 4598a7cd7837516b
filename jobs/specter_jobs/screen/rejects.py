"""The rejected rows of a shard as a table."""

from collections.abc import Sequence

import pyarrow as pa

from specter_batch.papers.screening import Reason, Screening
from specter_jobs.output.schema import REJECT_SCHEMA
from specter_jobs.plan.shards import Shard


def rejected_rows(screening: Screening, shard: Shard, paper_ids: pa.ChunkedArray) -> pa.Table:
    """Return the rows that were rejected as `REJECT_SCHEMA`; `row` counts from the beginning of the file.

    Args:
        screening: Rejected rows of the shard, with the reasons.
        shard: The shard.
        paper_ids: Ids of all papers of the shard.
    """
    rows = sorted(screening.reasons)
    return reject_table(
        shard,
        rows,
        paper_ids=paper_ids.take(pa.array(rows, pa.int64())),
        reasons=[screening.reasons[row] for row in rows],
        details=[screening.details.get(row) for row in rows],
    )


def reject_table(
    shard: Shard,
    rows: Sequence[int],
    *,
    paper_ids: pa.ChunkedArray,
    reasons: Sequence[Reason],
    details: Sequence[str | None],
) -> pa.Table:
    """Return rejected rows as `REJECT_SCHEMA`. All sequences have one item for each rejected row.

    Args:
        shard: The shard that holds the rows.
        rows: Numbers of the rows within the shard.
        paper_ids: Ids of the papers.
        reasons: Reason of each rejection.
        details: More about each rejection, or None.
    """
    numbers = [shard.start + row for row in rows]
    groups = [shard.file.group_of(number) for number in numbers]
    columns = [[shard.file.name] * len(numbers), groups, numbers, paper_ids, reasons, details]
    return pa.table(columns, schema=REJECT_SCHEMA)
