"""Globs over the paths below a folder. They work the same in local folders and in stores."""

import re
from collections.abc import Sequence
from fnmatch import translate


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
