"""Folders that a table format manages. Not all rows of their parquet files are current rows of the table."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from specter_batch.errors import PaperSchemaError, StorageError
from specter_batch.storage.location import Location, is_remote, names_in

DELTA, ICEBERG, HUDI = "Delta Lake", "Iceberg", "Hudi"
DELTA_LOG, HUDI_FOLDER, ICEBERG_METADATA = "_delta_log", ".hoodie", "metadata"
# Table features that do not change how the data files have to be read.
_READABLE_FEATURES = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "typeWidening", "appendOnly"})
# A URL with more slashes than this has a folder below its bucket, as in `s3://bucket/folder`.
LEAST_SLASHES = 2
_STALE = "its folder also holds rows that were deleted or replaced"

Partitions = Mapping[str, str | None]


def table_format(folders: Collection[str], metadata: Collection[str]) -> str | None:
    """Return the table format of a folder, judged by its subfolders and by the names in its folder `metadata`."""
    if DELTA_LOG in folders:
        return DELTA
    if HUDI_FOLDER in folders:
        return HUDI
    if any(name.endswith(".metadata.json") or name == "version-hint.text" for name in metadata):
        return ICEBERG
    return None


def table_around(folder: Location) -> tuple[Location, str] | None:
    """Return the table that contains a folder, and its format; None if no table does or the folder is a table."""
    for parent in _parents(folder):
        try:
            folders = [name for name in (DELTA_LOG, HUDI_FOLDER) if (parent / name).is_dir()]
            format_name = table_format(folders, names_in(parent / ICEBERG_METADATA))
        except OSError:  # without permission to list this folder, it is not checked
            continue
        if format_name is not None:
            return parent, format_name
    return None


def _parents(folder: Location) -> Sequence[Location]:
    if not is_remote(folder):
        return folder.resolve().parents
    parents: list[Location] = []
    while folder.whole_path.count("/") > LEAST_SLASHES and not folder.whole_path.startswith("http"):
        folder = folder.parent
        parents.append(folder)
    return parents


def advice(format_: str) -> str:
    """Return a message about a table format: why its files cannot be read directly, and what to do."""
    if format_ == DELTA:
        return (
            f"is a {DELTA} table: {_STALE}. Install the reader with `pip install 'specter-batch[delta]'`, or write "
            "its current version as plain parquet and give that folder"
        )
    library = {
        ICEBERG: "pyiceberg (`pq.write_table(table.scan().to_arrow(), 'papers.parquet')`)",
        HUDI: "Spark (`spark.read.format('hudi').load(folder).write.parquet('papers')`)",
    }[format_]
    return (
        f"is {'an' if format_ == ICEBERG else 'a'} {format_} table, which is not read: {_STALE}. "
        f"Write its current rows as plain parquet, for example with {library}, and give that"
    )


def delta_files(folder: Location) -> dict[tuple[str, ...], Partitions]:
    """Return the data files of a Delta table's current version: path below the table -> partition columns.

    Raises:
        PaperSchemaError: The package `deltalake` is not installed, or the table uses features that do not allow
            reading its files directly.
    """
    try:
        from deltalake import DeltaTable
    except ImportError:
        raise PaperSchemaError(advice(DELTA)) from None
    problem = partial("is a {} table that cannot be read: {}".format, DELTA)
    try:
        with _local_table(folder) as local:
            table = DeltaTable(str(local))
            actions = pa.table(table.get_add_actions(flatten=False))
            protocol, settings = table.protocol(), table.metadata().configuration
    except StorageError:
        raise
    except Exception as error:  # the exceptions of this Rust library have no common base class
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise PaperSchemaError(f"{problem(line)}; write its current version as plain parquet and give that") from None
    needed = set(protocol.reader_features or ()) - _READABLE_FEATURES
    if settings.get("delta.columnMapping.mode", "none") != "none":
        needed.add("columnMapping")
    if needed:
        raise PaperSchemaError(
            problem(f"it uses {', '.join(sorted(needed))}; write its current version as plain parquet and give that")
        )
    columns = actions.to_pydict()
    partitions = columns.get("partition") or [None] * len(columns["path"])
    files: dict[tuple[str, ...], Partitions] = {}
    for path, values in zip(columns["path"], partitions, strict=True):
        name = unquote(path)
        if name.startswith("/") or "://" in name:
            raise PaperSchemaError(problem(f"it refers to files elsewhere ({name}), as a shallow clone does"))
        files[tuple(name.split("/"))] = {column: _as_text(value) for column, value in (values or {}).items()}
    return files


@contextmanager
def _local_table(folder: Location) -> Iterator[Path]:
    """Yield a local folder with the table's log. From a store, it is downloaded with the usual credentials."""
    if not is_remote(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="specter-batch.") as scratch:
        local = Path(scratch)
        for name in (folder / DELTA_LOG).below(recursive=True):
            copy = local / DELTA_LOG / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            (folder / DELTA_LOG / name).fetch(copy)
        yield local


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
