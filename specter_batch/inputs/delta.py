"""Which files of a Delta Lake table hold its current rows. Needs the package `deltalake`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from specter_batch.errors import PaperSchemaError, StorageError
from specter_batch.inputs.kinds import DELTA, DELTA_LOG, Partitions, advice
from specter_batch.storage.location import Location, is_remote

# Table features that do not change how the data files have to be read.
_READABLE_FEATURES = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "typeWidening", "appendOnly"})


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
