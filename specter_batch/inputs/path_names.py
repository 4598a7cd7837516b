"""What the names on a path mean: whether a glob matches them, and which partition columns they hold.

Globs work the same in local folders and in stores. Hive, Spark and pandas write partition columns as names of folders:
`label=Asthma/part-0.parquet`.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate
from itertools import takewhile
from urllib.parse import unquote

# The folder name with which Hive and Spark mark rows that have no value.
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class GlobPattern:
    """A glob below a folder. `**` matches any number of folders; at the end it matches every file below.

    A part also matches a file with literally that name: `run[1]` matches `run[1]` as well as `run1`.

    Args:
        parts: The pattern, split at its slashes.

    Raises:
        ValueError: The pattern is not a valid glob.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        for part in parts:
            if "**" in part and part != "**":
                raise ValueError(f"** must be a whole part of the path, got {part}")
            if part == "..":
                raise ValueError("'..' after a wildcard is not supported")
        self._parts = tuple(parts) + (("*",) if parts[-1] == "**" else ())
        self._patterns = tuple(re.compile(translate(part)) for part in self._parts)

    def matches(self, path: Sequence[str]) -> bool:
        """Return whether the glob matches this path below the folder."""
        return self._matches(0, tuple(path))

    def may_match_below(self, folder: Sequence[str]) -> bool:
        """Return whether the glob can match anything below this folder."""
        for number, name in enumerate(folder):
            if number >= len(self._parts) - 1:
                return False
            if self._parts[number] == "**":
                return True
            if not self._takes(number, name):
                return False
        return True

    def _matches(self, number: int, path: tuple[str, ...]) -> bool:
        if number == len(self._parts):
            return not path
        if self._parts[number] == "**":
            return any(self._matches(number + 1, path[skipped:]) for skipped in range(len(path)))
        return bool(path) and self._takes(number, path[0]) and self._matches(number + 1, path[1:])

    def _takes(self, number: int, name: str) -> bool:
        return name == self._parts[number] or self._patterns[number].match(name) is not None


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
