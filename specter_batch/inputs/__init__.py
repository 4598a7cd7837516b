"""Finds the files of an input. Each file is read, ignored with a stated reason, or failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from specter_batch.display import ignored_line, shown_entries, storable, stored_name
from specter_batch.errors import PaperSchemaError
from specter_batch.inputs.kinds import PARQUET, InputKind, table_around
from specter_batch.inputs.path_names import GlobPattern, partitions_above, partitions_in
from specter_batch.inputs.tree import LocalTree, StoreTree
from specter_batch.inputs.walk import InputWalk, WalkedFile
from specter_batch.storage.location import (
    Location,
    is_remote,
    located,
    name_meant,
    names_above,
    parted_at_wildcard,
    real_path,
)
from specter_batch.storage.url_path import WILDCARD


@dataclass(frozen=True, kw_only=True)
class InputPath:
    """A file to read.

    Attributes:
        path: Location of the file.
        name: Stored name of the file: its path below the inventory's root, with forward slashes.
        partitions: Partition column -> value, from the names of the file's folders or from the log of its table; None
            means that there is no value.
    """

    path: Location
    name: str
    partitions: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InputInventory:
    """The files of an input.

    Attributes:
        root: Folder that all names are relative to.
        files: The files to read, in a fixed order.
        ignored: Stored name -> why the file is not read. A name that ends in a slash is a folder with all its content.
        failed: Stored name -> why the file cannot be read, although it may hold papers.
    """

    root: Location
    files: tuple[InputPath, ...]
    ignored: Mapping[str, str]
    failed: Mapping[str, str]

    def check_complete(self, *, source: str) -> None:
        """Raise an error if a part of the input cannot be read. For commands that need the complete input.

        Raises:
            PaperSchemaError: A file or folder that may hold papers cannot be read.
        """
        if self.failed:
            raise PaperSchemaError(
                f"{source}: {len(self.failed)} of its entries cannot be read: {shown_entries(self.failed)}"
            )

    def notes(self) -> tuple[str, ...]:
        """Return a sentence about ignored entries that a user may not expect; empty if there are none."""
        line = ignored_line(self.ignored)
        return (f"not read: {line}",) if line else ()


def parquet_inventory(source: str | Location, *, out: Location | None = None) -> InputInventory:
    """Return the inventory of papers in parquet; see `take_inventory`."""
    return take_inventory(source, PARQUET, out=out)


def take_inventory(source: str | Location, kind: InputKind, *, out: Location | None = None) -> InputInventory:
    """Find the files of an input: a file, a folder with all folders below it, or a glob; local or a URL.

    Links are followed, and each file is read once. A file that is given directly is read whatever its name. Names that
    begin with `_` or `.` are not data, except for folders such as `_year=2026`.

    Args:
        source: The input.
        kind: The kind of files to read.
        out: File or folder that the command writes; it is left out of the inventory.

    Raises:
        PaperSchemaError: There is nothing to read.
        StorageError: The store cannot be reached or denies access.
    """
    place = located(source)
    root, glob = _root_of(place, source)
    if root is None:
        return _outright(place)
    if isinstance(root, Path) and not root.is_dir():
        raise PaperSchemaError(
            f"{storable(str(source))}: no {kind.what} found (looked for {kind.looked_for}); there is no folder "
            f"{storable(str(root))}"
        )
    tree = StoreTree(root) if is_remote(root) else LocalTree(root)
    left_out = () if out is None else (real_path(out),)
    walk = InputWalk(tree=tree, kind=kind, glob=glob, left_out=left_out)
    around = table_around(root)
    if around is not None:
        table, format_ = around
        raise PaperSchemaError(
            f"{storable(str(source))}: lies in the {format_} table {storable(str(table))}, and only the table's log "
            "lists the files with current rows; give the folder of the table"
        )
    walk.run()
    if not walk.files:
        raise PaperSchemaError(_nothing(source, kind, walk))
    return InputInventory(
        root=root,
        files=tuple(_input_path(file, root) for file in walk.files),
        ignored=dict(sorted(walk.ignored.items())),
        failed=dict(sorted(walk.failed.items())),
    )


def _root_of(place: Location, source: str | Location) -> tuple[Location | None, GlobPattern | None]:
    """Return the folder to walk and the glob below it. For a single file, the folder is None.

    Raises:
        PaperSchemaError: The place does not exist, or the glob is not valid.
    """
    if place.is_file():
        return None, None
    if place.is_dir():
        return place, None
    root, parts = _before_wildcards(place)
    if not parts:
        raise PaperSchemaError(f"{storable(str(source))}: {_absence(place)}")
    try:
        return root, GlobPattern(parts)
    except ValueError as error:
        raise PaperSchemaError(f"{storable(str(source))}: not a usable glob ({error})") from error


def _before_wildcards(place: Location) -> tuple[Location, Sequence[str]]:
    """Return the folder before the first part with a wildcard, and the parts from there on.

    A part that is the literal name of an existing file or folder is not a wildcard: `run[1]` may be a folder.
    """
    root, parts = parted_at_wildcard(place)
    while parts and (not WILDCARD.search(parts[0]) or (root / parts[0]).exists()):
        root, parts = root / parts[0], parts[1:]
    return root, parts


def _absence(place: Location) -> str:
    if is_remote(place):
        return "no such file, folder or bucket"
    if place.is_symlink():
        return f"is a link to {storable(str(place.readlink()))}, which does not exist; check that its disk is mounted"
    if place.exists():
        return "is neither a file nor a folder; give a file of papers, a folder or a glob"
    return f"no such file or folder{name_meant(place) or '; check the path'}"


def _outright(place: Location) -> InputInventory:
    file = InputPath(path=place, name=stored_name(place.name), partitions=_folder_partitions(place.parent, ()))
    return InputInventory(root=place.parent, files=(file,), ignored={}, failed={})


def _input_path(file: WalkedFile, root: Location) -> InputPath:
    name = "/".join(file.path)
    partitions = _folder_partitions(root, file.path[:-1]) if file.partitions is None else file.partitions
    return InputPath(path=root / name, name=stored_name(name), partitions=partitions)


def _folder_partitions(root: Location, folders: Sequence[str]) -> dict[str, str | None]:
    above = names_above(root)
    return partitions_above(above) | partitions_in(folders)


def _nothing(source: str | Location, kind: InputKind, walk: InputWalk) -> str:
    """Return the message of the error that an input has no file to read."""
    shown = storable(str(source))
    if walk.failed:
        return f"{shown}: nothing can be read: {shown_entries(walk.failed)}"
    ignored = f"; ignored: {shown_entries(walk.ignored)}" if walk.ignored else ""
    return f"{shown}: no {kind.what} found (looked for {kind.looked_for}){ignored}"
