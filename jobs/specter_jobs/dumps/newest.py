"""Keep only the newest version of each paper, and remove the papers that a later tombstone deletes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from specter_batch.papers.parquet import read_table, write_table
from specter_batch.storage.files import written_whole
from specter_jobs.database import allow_joins, opened_database, register_parquet
from specter_jobs.dumps.ingest_unit import IngestUnit
from specter_jobs.dumps.ledger import IngestEntry
from specter_jobs.dumps.record_output import INDEX_SCHEMA, Reason, RecordWriter, output_file
from specter_jobs.output.names import REJECTS, OutputFile

# A place is a record's position in the whole input: the file's number in the high bits, the position within the file
# in the low bits.
_PLACE_BITS = 40
_LOSERS = """
    CREATE TABLE losers AS
    WITH tombstones AS (SELECT paper_id, version, place FROM ids WHERE deleted),
    withdrawn AS (
        SELECT r.place, min(t.place) AS cause
        FROM ids r JOIN tombstones t ON r.paper_id = t.paper_id
        WHERE NOT r.deleted AND t.place > r.place AND (t.version = 0 OR t.version >= r.version)
        GROUP BY r.place
    ),
    alive AS (SELECT * FROM ids ANTI JOIN withdrawn USING (place) WHERE NOT deleted),
    newest AS (SELECT paper_id, max(row(version, place)) AS best FROM alive GROUP BY paper_id HAVING count(*) > 1)
    SELECT ids.*, 'deleted' AS reason, cause FROM ids JOIN withdrawn USING (place) WHERE part IS NOT NULL
    UNION ALL
    SELECT alive.*, 'superseded' AS reason, best[2] AS cause FROM alive JOIN newest USING (paper_id)
    WHERE place <> best[2] AND part IS NOT NULL
    ORDER BY unit, position
"""


@dataclass(frozen=True, kw_only=True)
class Loser:
    """A paper that must not be in the output.

    Attributes:
        position: Position of the paper in its input file.
        paper_id: Id of the paper.
        part: Number of its papers file.
        row: Row of the paper in that file, before any rows were removed.
        reason: Reason for the removal, `superseded` or `deleted`.
        by: File and position of the record that superseded or deleted it.
    """

    position: int
    paper_id: str
    part: int
    row: int
    reason: Reason
    by: str


Taken = dict[int, tuple[str, str]]  # position -> reason and detail


def losers_by_unit(
    units: Sequence[IngestUnit], entries: Sequence[IngestEntry], *, out: Path, scratch: Path
) -> Iterator[tuple[IngestUnit, IngestEntry, list[Loser]]]:
    """Yield each unit of a format with versions, with its papers that are superseded or deleted.

    Versions are ordered by their number, then by the order of the files, then by the position within the file. A
    tombstone deletes the earlier records of its id that have the same or an older version.

    Args:
        units: Units in the order of the input.
        entries: Ledger entries of the units, in the same order.
        out: The output folder.
        scratch: Folder for the table of ids; removed by the caller.
    """
    versioned = [number for number, entry in enumerate(entries) if entry.index]
    if not versioned:
        return
    with opened_database(scratch) as database:
        # Keeping the insertion order costs memory, and the column `place` has it anyway.
        database.execute("SET preserve_insertion_order = false")
        database.execute(
            "CREATE TABLE ids (paper_id VARCHAR, version BIGINT, deleted BOOLEAN, position BIGINT, part INTEGER, "
            "row INTEGER, unit BIGINT, place BIGINT)"
        )
        for number in versioned:
            files = [out / file.name for file in entries[number].index]
            with register_parquet(database, "versions", files, INDEX_SCHEMA.names):
                database.execute(
                    "INSERT INTO ids SELECT *, $unit, ($unit::BIGINT << $bits::BIGINT) + position FROM versions",
                    {"unit": number, "bits": _PLACE_BITS},
                )
        allow_joins(database, "ids")
        database.execute(_LOSERS)
        for number in versioned:
            rows = database.execute(
                "SELECT position, paper_id, part, row, reason, cause FROM losers WHERE unit = ? ORDER BY position",
                [number],
            ).fetchall()
            yield units[number], entries[number], [_loser(row, units) for row in rows]


def _loser(row: tuple[int, str, int, int, Reason, int], units: Sequence[IngestUnit]) -> Loser:
    position, paper_id, part, in_part, reason, cause = row
    place = f"{units[cause >> _PLACE_BITS].name} record {cause & ((1 << _PLACE_BITS) - 1)}"
    return Loser(position=position, paper_id=paper_id, part=part, row=in_part, reason=reason, by=f"by {place}")


def already_taken(entry: IngestEntry, *, out: Path) -> Taken:
    """Return the papers that an earlier run removed from a unit."""
    if not {"deleted", "superseded"} & entry.rejects_by_reason.keys():
        return {}
    rows = pa.concat_tables(read_table(out / file.name) for file in entry.rejects).to_pylist()
    return {
        row["position"]: (row["reason"], row["detail"]) for row in rows if row["reason"] in ("deleted", "superseded")
    }


def wanted_out(losers: Sequence[Loser]) -> Taken:
    """Return the papers to remove from a unit, in the form of `already_taken`."""
    return {loser.position: (loser.reason, loser.by) for loser in losers}


def take_out(unit: IngestUnit, entry: IngestEntry, losers: Sequence[Loser], taken: Taken, *, out: Path) -> IngestEntry:
    """Move losers from a unit's papers to its rejects; the same losers give the same bytes, in one step or several.

    Args:
        unit: Unit that holds the papers.
        entry: Ledger entry of the unit, for its files as they are now.
        losers: All papers that must not be in the output.
        taken: Losers that were already removed.
        out: The output folder.

    Returns:
        New ledger entry of the unit.
    """
    papers = list(entry.papers)
    for part in sorted({loser.part for loser in losers}):
        of_part = [loser for loser in losers if loser.part == part]
        gone = [loser.row for loser in of_part if loser.position in taken]
        if len(gone) < len(of_part):
            papers[part] = _without(papers[part], rows=[loser.row for loser in of_part], gone=gone, out=out)
    listed = [row for file in entry.rejects for row in read_table(out / file.name).to_pylist()]
    listed = [row for row in listed if row["reason"] not in ("deleted", "superseded")]
    reasons = {name: n for name, n in entry.rejects_by_reason.items() if name not in ("deleted", "superseded")}
    for loser in losers:
        listed.append(
            {
                "file": unit.name,
                "position": loser.position,
                "paper_id": loser.paper_id,
                "reason": loser.reason,
                "detail": loser.by,
            }
        )
        reasons[loser.reason] = reasons.get(loser.reason, 0) + 1
    listed.sort(key=lambda row: row["position"])
    with RecordWriter(out, REJECTS, unit.output_name) as rejects:
        for row in listed:
            rejects.add(tuple(row.values()))
    return entry.model_copy(
        update={"papers": papers, "rejects": rejects.files, "rejects_by_reason": dict(sorted(reasons.items()))}
    )


def _without(file: OutputFile, *, rows: Sequence[int], gone: Sequence[int], out: Path) -> OutputFile:
    """Rewrite a papers file without some rows; row numbers are those of the file before any rows were removed."""
    path = out / file.name
    keep, here = np.ones((2, file.rows + len(gone)), dtype=np.bool_)
    keep[list(rows)] = False
    here[list(gone)] = False
    table = read_table(path).filter(pa.array(keep[here])).combine_chunks()
    with written_whole(path) as partial:
        write_table(partial, table)
    return output_file(out, path, rows=table.num_rows)
