"""Write output files. A file is complete or absent, and its hash is recorded in the ledger."""

import pyarrow as pa

from specter_batch.papers.parquet import table_writer
from specter_batch.storage.files import file_sha256, written_whole
from specter_batch.storage.location import Location
from specter_jobs.output.labelled_shard import LabelledShard
from specter_jobs.output.names import LABELS, REJECTS, OutputFile, parquet_name
from specter_jobs.output.schema import LOGITS, PROBABILITIES


def write_output(out: Location, kind: str, stem: str, table: pa.Table) -> OutputFile:
    """Write one parquet file. The same table gives the same bytes.

    Args:
        out: The output folder.
        kind: `LABELS` or `REJECTS`.
        stem: Name of the shard, or of another part of the night.
        table: The rows.
    """
    vectors = [name for name in (PROBABILITIES, LOGITS) if name in table.column_names]
    name = f"{kind}/{parquet_name(stem)}"
    with written_whole(out / name) as partial:
        with table_writer(partial, table.schema, vectors=vectors) as file:
            file.write_table(table)
        size, sha256 = partial.stat().st_size, file_sha256(partial)
    return OutputFile(name=name, rows=table.num_rows, size=size, sha256=sha256)


def write_shard(out: Location, stem: str, labelled: LabelledShard) -> tuple[OutputFile, OutputFile | None]:
    """Write the label file of a shard and, if rows were rejected, its reject file; return both."""
    labels = write_output(out, LABELS, stem, labelled.labels)
    return labels, write_output(out, REJECTS, stem, labelled.rejects) if labelled.rejects.num_rows else None
