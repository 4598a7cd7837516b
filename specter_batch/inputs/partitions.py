"""Columns in the names of folders, as Hive, Spark and pandas write them: `label=Asthma/part-0.parquet`."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from urllib.parse import unquote

# How Hive and Spark write that a row has no value.
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def partitions_in(folders: Sequence[str]) -> dict[str, str | None]:
    """Return the columns that folder names `column=value` stand for; the innermost wins. Other names say nothing."""
    return dict(_column(folder) for folder in folders if _is_partition(folder))


def partitions_above(folders: Sequence[str]) -> dict[str, str | None]:
    """Return the columns of the last folders of a path, as far up as all of them are `column=value`."""
    last = list(takewhile(_is_partition, reversed(folders)))
    return partitions_in(last[::-1])


def shown_partitions(partitions: Mapping[str, str | None]) -> str:
    """Return the names of partition columns for a message."""
    return f" (and {', '.join(partitions)} from the folder names)" if partitions else ""


def _is_partition(folder: str) -> bool:
    return "=" in folder[1:]


def _column(folder: str) -> tuple[str, str | None]:
    name, _, value = folder.partition("=")
    return _decoded(name), None if value in ("", NULL_PARTITION) else _decoded(value)


def _decoded(part: str) -> str:
    """Return a part without its %XX escapes; bytes that are not UTF-8 are replaced, as in the values of a file."""
    whole = unquote(part, errors="surrogateescape")
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
