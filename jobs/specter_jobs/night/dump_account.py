"""Account for every record of a dump: records that the ingest rejected become rejects of the night."""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from specter_batch.papers.parquet import read_table
from specter_jobs.dumps.account_model import IngestAccount
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.names import REJECTS, OutputFile
from specter_jobs.output.plan_file import DumpAccount
from specter_jobs.output.schema import REJECT_SCHEMA
from specter_jobs.output.writer import write_output


def take_over_rejects(
    out: OutputFolder, ingested: Path, account: IngestAccount, *, labelled_files: Collection[str]
) -> DumpAccount:
    """Write the rejects of an ingest as rejects of the night, and return the account of the dump.

    `row` is the position of the record in its file, as the ingest counts it; there is no row group. The same ingest
    gives the same bytes.

    Args:
        out: Output folder of the night.
        ingested: Output folder of the ingest.
        account: Account of the ingest.
        labelled_files: Files of the dump whose papers have labels in the folder, when the night is complete.
    """
    names = [output.file for entry in account.inputs for output in entry.outputs]
    records = account.records
    return DumpAccount(
        files=account.files.found,
        records=records.read,
        papers=records.papers,
        filtered=records.filtered,
        tombstones=records.tombstones,
        rejects_by_reason=dict(account.rejects_by_reason),
        rejects=tuple(_written(out, ingested / name) for name in names if name.startswith(f"{REJECTS}/")),
        labelled_files=tuple(sorted(labelled_files)),
    )


def _written(out: OutputFolder, path: Path) -> OutputFile:
    table = read_table(path)
    columns = {
        "file": table["file"],
        "row_group": pa.nulls(table.num_rows, pa.int32()),
        "row": table["position"],
        "paper_id": table["paper_id"],
        "reason": table["reason"],
        "detail": table["detail"],
    }
    return write_output(out.place, REJECTS, f"ingest-{path.stem}", pa.table(columns, schema=REJECT_SCHEMA))
