"""A night from a dump accounts for every record of the dump: what the ingest rejected is rejected by the night."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from specter_batch.papers.parquet_file import read_table
from specter_batch.storage.location import Location
from specter_jobs.output.dump_account import DumpAccount
from specter_jobs.output.ledger_entry import OutputFile
from specter_jobs.output.writer import REJECTS, write_output
from specter_jobs.screen.screening import REJECT_SCHEMA


def take_over_rejects(
    out: Location, ingested: Path, account: Mapping[str, Any], *, labelled_files: Collection[str]
) -> DumpAccount:
    """Write the rejects of an ingest as rejects of the night, and return the account of the dump.

    `row` is the position of the record in its file, as the ingest counts it; there is no row group. The same ingest
    gives the same bytes.

    Args:
        out: Output folder of the night.
        ingested: Output folder of the ingest.
        account: Content of the ingest's `ingest.json`.
        labelled_files: Files of the dump whose papers have labels in the folder, when the night is complete.
    """
    names = [output["file"] for entry in account["inputs"] for output in entry["outputs"]]
    records = account["records"]
    return DumpAccount(
        files=account["files"]["found"],
        records=records["read"],
        papers=records["papers"],
        filtered=records["filtered"],
        tombstones=records["tombstones"],
        rejects_by_reason=account["rejects_by_reason"],
        rejects=tuple(_written(out, ingested / name) for name in names if name.startswith(f"{REJECTS}/")),
        labelled_files=tuple(sorted(labelled_files)),
    )


def listed_files(dump: DumpAccount | None) -> Sequence[OutputFile]:
    """Return the reject files of a dump's account, if there is one."""
    return () if dump is None else dump.rejects


def _written(out: Location, path: Path) -> OutputFile:
    table = read_table(path)
    columns = {
        "file": table["file"],
        "row_group": pa.nulls(table.num_rows, pa.int32()),
        "row": table["position"],
        "paper_id": table["paper_id"],
        "reason": table["reason"],
        "detail": table["detail"],
    }
    return write_output(out, REJECTS, f"ingest-{path.stem}", pa.table(columns, schema=REJECT_SCHEMA))
