"""Output files, whole or absent, with the hash that the ledger remembers them by."""

import hashlib

import pyarrow as pa

from specter_batch.model.bundle import file_sha256
from specter_batch.papers.parquet_file import write_table
from specter_batch.storage.files import written_whole
from specter_batch.storage.location import Location
from specter_batch.storage.url_path import UrlPath
from specter_jobs.output.ledger_entry import OutputFile

LABELS = "labels"
REJECTS = "rejects"
# Written last, and only when nothing failed.
SUCCESS_FILE = "_SUCCESS"


def is_intact(out: Location, file: OutputFile) -> bool:
    """Say whether a file below the output folder holds the bytes that its SHA-256 was taken of."""
    path = out / file.name
    try:
        if isinstance(path, UrlPath):
            return hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
        return path.stat().st_size == file.size and file_sha256(path) == file.sha256
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False


def write_output(out: Location, kind: str, shard_name: str, table: pa.Table) -> OutputFile:
    """Write one parquet file of a shard; the same table gives the same bytes."""
    name = f"{shard_name}.parquet"
    with written_whole(out / kind / name) as partial:
        write_table(partial, table)
        size, sha256 = partial.stat().st_size, file_sha256(partial)
    return OutputFile(name=f"{kind}/{name}", rows=table.num_rows, size=size, sha256=sha256)
