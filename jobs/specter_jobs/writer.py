"""Output files, whole or absent, with the hash that the ledger remembers them by."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from specter_batch.bundle import file_sha256
from specter_batch.files import written_whole

LABELS = "labels"
REJECTS = "rejects"


class OutputFile(BaseModel):
    """A finished file below the output folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    size: int
    sha256: str


def write_output(out: Path, kind: str, shard_name: str, table: pa.Table) -> OutputFile:
    """Write one parquet file of a shard; the same table gives the same bytes."""
    path = out / kind / f"{shard_name}.parquet"
    with written_whole(path) as partial:
        pq.write_table(table, partial, compression="zstd")
    return OutputFile(
        name=path.relative_to(out).as_posix(), rows=table.num_rows, size=path.stat().st_size, sha256=file_sha256(path)
    )
