"""Partition columns in the names of folders, as Hive, Spark and pandas write them: `label=Asthma/part-0.parquet`."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from urllib.parse import unquote

# The folder name with which Hive and Spark mark rows that have no value.
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def partitions_in(folders: Sequence[str]) -> dict[str, str | None]:
    """Return the columns from folder names of the form `column=value`; the innermost wins. Other names are ignored."""
    return dict(_column(folder) for folder in folders if _is_partition(folder))


def partitions_above(folders: Sequence[str]) -> dict[str, str | None]:
    """Return the columns from the last folders of a path, up to the first folder that is not `column=value`."""
    last = list(takewhile(_is_partition, reversed(folders)))
    return partitions_in(last[::-1])


def shown_partitions(partitions: Mapping[str, str | None]) -> str:
    """Return a message part with the names of the partition columns."""
    return f" (and {', '.join(partitions)} from the folder names)" if partitions else ""


def _is_partition(folder: str) -> bool:
    return "=" in folder[1:]


def _column(folder: str) -> tuple[str, str | None]:
    name, _, value = folder.partition("=")
    return _decoded(name), None if value in ("", NULL_PARTITION) else _decoded(value)


def _decoded(part: str) -> str:
    """Return a part with its %XX escapes decoded; bytes that are not UTF-8 are replaced, as in the values of a file."""
    whole = unquote(part, errors="surrogateescape")
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
