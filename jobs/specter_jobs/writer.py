"""Output files, whole or absent, with the hash that the ledger remembers them by."""

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from specter_batch.bundle import file_sha256
from specter_batch.files import written_whole
from specter_batch.parquet_file import write_table
from specter_batch.storage import Location

LABELS = "labels"
REJECTS = "rejects"


class OutputFile(BaseModel):
    """A finished file below the output folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    size: int
    sha256: str


def write_output(out: Location, kind: str, shard_name: str, table: pa.Table) -> OutputFile:
    """Write one parquet file of a shard; the same table gives the same bytes."""
    name = f"{shard_name}.parquet"
    with written_whole(out / kind / name) as partial:
        write_table(partial, table)
        size, sha256 = partial.stat().st_size, file_sha256(partial)
    return OutputFile(name=f"{kind}/{name}", rows=table.num_rows, size=size, sha256=sha256)
