"""Lists the content of a folder on a disk or in a store. An inventory is made from this listing."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from specter_batch.inputs.kinds import HEAD_BYTES
from specter_batch.storage.location import Location
from specter_batch.storage.url_path import UrlPath

Parts = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Child:
    """An entry of a folder.

    Attributes:
        name: Name of the entry.
        kind: Kind of the entry after links are followed. `broken` cannot be read; `special` is neither file nor folder.
        is_link: True if the entry is a symbolic link.
        problem: For `broken`, what is wrong; for `special`, what the entry is.
    """

    name: str
    kind: Literal["file", "folder", "special", "broken"]
    is_link: bool = False
    problem: str = ""


class InputTree(Protocol):
    """A folder with everything below it. A path is a tuple of names, relative to the folder."""

    def children(self, folder: Parts) -> Sequence[Child]:
        """Return the entries of a folder.

        Raises:
            OSError: The folder cannot be listed.
        """
        ...

    def location(self, path: Parts) -> Location:
        """Return where something is."""
        ...

    def real_path(self, path: Parts) -> str:
        """Return a path with links resolved. Two paths are equal only if they are the same file or folder."""
        ...

    def head(self, path: Parts) -> bytes:
        """Return the first bytes of a file.

        Raises:
            OSError: The file cannot be read.
        """
        ...


class LocalTree:
    """A folder on a disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def children(self, folder: Parts) -> Sequence[Child]:
        """List a folder."""
        with os.scandir(self.location(folder)) as entries:
            return [_child(entry) for entry in entries]

    def location(self, path: Parts) -> Path:
        """Return where something is."""
        return self._root.joinpath(*path)

    def real_path(self, path: Parts) -> str:
        """Return a path without links."""
        return os.path.realpath(self.location(path))

    def head(self, path: Parts) -> bytes:
        """Return the first bytes of a file."""
        with self.location(path).open("rb", buffering=0) as file:
            return file.read(HEAD_BYTES)


class StoreTree:
    """A folder in a store, listed completely with one call."""

    def __init__(self, root: UrlPath) -> None:
        self._root = root
        self._folders: dict[Parts, dict[tuple[str, str], Child]] = {(): {}}  # "a" may be a file and a folder there
        for name in root.below(recursive=True):
            *folders, file = name.split("/")
            here: Parts = ()
            for folder in folders:
                self._add(here, Child(name=folder, kind="folder"))
                here = (*here, folder)
                self._folders.setdefault(here, {})
            self._add(here, Child(name=file, kind="file"))

    def children(self, folder: Parts) -> Sequence[Child]:
        """List a folder."""
        return list(self._folders[folder].values())

    def location(self, path: Parts) -> UrlPath:
        """Return where something is."""
        return self._root / "/".join(path) if path else self._root

    def real_path(self, path: Parts) -> str:
        """Return the path unchanged: a store has no links."""
        return "/".join((str(self._root), *path))

    def head(self, path: Parts) -> bytes:
        """Return the first bytes of a file."""
        with self.location(path).open() as file:
            return bytes(file.read(HEAD_BYTES))

    def _add(self, folder: Parts, child: Child) -> None:
        self._folders[folder][child.name, child.kind] = child


def _child(entry: "os.DirEntry[str]") -> Child:
    link = entry.is_symlink()
    try:
        mode = entry.stat().st_mode if link else _mode(entry)
    except OSError as error:
        return Child(name=entry.name, kind="broken", is_link=link, problem=_problem(entry, error, link=link))
    if stat.S_ISDIR(mode):
        return Child(name=entry.name, kind="folder", is_link=link)
    if stat.S_ISREG(mode):
        return Child(name=entry.name, kind="file", is_link=link)
    return Child(name=entry.name, kind="special", is_link=link, problem=_special(mode))


def _mode(entry: "os.DirEntry[str]") -> int:
    """Return the file mode of an entry that is not a link. If the listing gives the kind, the disk is not read."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return entry.stat(follow_symlinks=False).st_mode


def _problem(entry: "os.DirEntry[str]", error: OSError, *, link: bool) -> str:
    if not link:
        return f"cannot be read ({error.strerror or error})"
    try:
        target = str(Path(entry.path).readlink())
    except OSError:
        target = "something"
    return f"is a link to {target}, which cannot be reached ({error.strerror or error}); check that its disk is mounted"


def _special(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    return next((what for is_kind, what in kinds if is_kind(mode)), "a device")
