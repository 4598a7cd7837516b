"""Globs over paths below a folder: one meaning for local folders and for stores."""

import re
from collections.abc import Sequence
from fnmatch import translate


class GlobPattern:
    """A glob below a folder; `**` stands for any number of folders, and for every file below at the end.

    A part that is also a file's literal name takes that file: `run[1]` takes `run[1]` as well as `run1`.

    Args:
        parts: The pattern, cut at its slashes.

    Raises:
        ValueError: The pattern cannot be one.
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
        """Say whether the glob takes this path below the folder."""
        return self._matches(0, tuple(path))

    def may_match_below(self, folder: Sequence[str]) -> bool:
        """Say whether the glob can take anything below this folder."""
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
