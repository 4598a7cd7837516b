"""Walks over an input: each file and folder is read, left out for a stated reason, or cannot be read."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from specter_batch.display import HIDDEN, storable, stored_name
from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.inputs.kinds import (
    DELTA,
    ICEBERG_METADATA,
    SYSTEM_FOLDERS,
    InputKind,
    Partitions,
    Verdict,
    advice,
    by_head,
    by_name,
    is_hidden,
    looks_like_data,
    table_around,
    table_format,
)
from specter_batch.inputs.path_names import GlobPattern
from specter_batch.inputs.tree import Child, InputTree, Parts, StoreTree
from specter_batch.storage.location import in_parallel
from specter_batch.storage.output_claim import MARKER_FILE, output_command

INGESTED_PAPERS = "papers"
# Commands whose outputs are recognised without a marker, because data rarely has the names of their files.
_KNOWN_BY_FILES = frozenset({"classify", "ingest", "evaluate"})


class _DeltaTable:
    """The Delta table that a folder belongs to.

    Args:
        files: Path below the input -> partition columns, for the table's current files.
    """

    def __init__(self, files: Mapping[Parts, Partitions]) -> None:
        self.files = files
        self._around = {path[:length] for path in files for length in range(len(path) + 1)}

    def holds(self, path: Parts) -> bool:
        """Return whether a current file is at this path or below it."""
        return path in self._around


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """A folder to list; `by_link` is True if it was reached through a link."""

    path: Parts
    real_path: str
    by_link: bool = False
    table: _DeltaTable | None = None


@dataclass(frozen=True, kw_only=True)
class WalkedFile:
    """A file to read.

    Attributes:
        path: Path of the file below the input.
        partitions: Partition columns from a table's log; None if they come from the names of the folders.
        by_link: True if the file was reached through a link.
        by_head: True if the file is read because of its first bytes and not because of its name.
    """

    path: Parts
    partitions: Partitions | None = None
    by_link: bool = False
    by_head: bool = False


@dataclass(kw_only=True)
class InputWalk:
    """A walk over an input, and its results.

    Attributes:
        tree: Folder to walk over.
        kind: Kind of files to read.
        glob: Glob that paths must match; all paths are looked at when None.
        left_out: Real paths that the calling command writes to.
        files: Files to read.
        ignored: Stored name -> reason. A name that ends in a slash is a folder with all its content.
        failed: Stored name -> what is wrong with the file or folder.
    """

    tree: InputTree
    kind: InputKind
    glob: GlobPattern | None = None
    left_out: Collection[str] = ()
    files: list[WalkedFile] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Walk over the input. Links are followed last, so that a folder is listed under its real path if possible."""
        self._root = self.tree.real_path(())
        self._entered: dict[str, Parts] = {}
        self._links: deque[tuple[Parts, _Folder]] = deque()
        self._unclear: list[WalkedFile] = []
        self._in_tables: set[Parts] = set()
        folders = deque([_Folder(path=(), real_path=self._root)])
        while folders or self._links:
            while folders:
                folders.extend(self._enter(folders.popleft()))
            if self._links:
                folders.extend(self._follow(*self._links.popleft()))
        self._look_into_unclear()
        self._leave_out_copies()
        for path in sorted(self._in_tables - {file.path for file in self.files}):
            self._fail(path, f"is listed in the log of its {DELTA} table, but does not exist")

    def _enter(self, folder: _Folder) -> list[_Folder]:
        """List a folder, decide about its entries, and return the folders below."""
        path, real = folder.path, folder.real_path
        if real in self._entered:
            self._ignore(path, f"the same folder as {_shown(self._entered[real], '/')}, which is read", end="/")
            return []
        if real in self.left_out:
            self._ignore(path, "the folder that this command writes to", end="/")
            return []
        try:
            entries = list(self._below(folder, sorted(self.tree.children(path), key=lambda child: child.name)))
        except (ConfigError, PaperSchemaError) as error:
            self._fail(path, str(error), end="/")
            return []
        except OSError as error:
            self._fail(path, f"cannot be listed ({error.strerror or error}); allow it, or move it away", end="/")
            return []
        self._entered[real] = path
        return entries

    def _below(self, folder: _Folder, children: Sequence[Child]) -> Iterator[_Folder]:
        """Decide about the entries of a folder and yield the folders to enter. Outputs and tables are checked first.

        Raises:
            PaperSchemaError: The folder is a table that cannot be read.
            ConfigError: The folder has the marker of an output, and the marker is damaged.
        """
        path, table = folder.path, folder.table
        names = {child.name for child in children}
        subfolders = {child.name for child in children if child.kind == "folder"}
        command = output_command(self.tree.location(path), names=names)
        if command is not None and (MARKER_FILE in names or command in _KNOWN_BY_FILES):
            what = f"an output of `specter-batch {command}`"
            if command != "ingest" or not self.kind.papers_of_ingest or INGESTED_PAPERS not in subfolders:
                self._ignore(
                    path, what + (", whose files can be given one by one" if command == "split" else ""), end="/"
                )
                return
            for child in children:
                if child.name != INGESTED_PAPERS:
                    self._ignore((*path, child.name), f"part of {what}, whose papers are in {INGESTED_PAPERS}/")
            children = [child for child in children if child.name == INGESTED_PAPERS]
        metadata = self._names((*path, ICEBERG_METADATA)) if ICEBERG_METADATA in subfolders else ()
        format_ = table_format(subfolders, metadata)
        if format_ is not None and (format_ != DELTA or not self.kind.papers_of_ingest):
            raise PaperSchemaError(advice(format_))
        if format_ == DELTA:
            # Imported here because few inputs are Delta tables.
            from specter_batch.inputs.delta import delta_files

            current = delta_files(self.tree.location(path))
            table = _DeltaTable({path + file: values for file, values in current.items()})
            self._in_tables |= {file for file in table.files if self.glob is None or self.glob.matches(file)}
        for child in children:
            yield from self._sort(child, folder, table)

    def _names(self, folder: Parts) -> list[str]:
        """Return the names in a folder; empty if it cannot be listed, which is reported when it is entered."""
        try:
            return [child.name for child in self.tree.children(folder)]
        except OSError:
            return []

    def _sort(self, child: Child, folder: _Folder, table: _DeltaTable | None) -> Iterator[_Folder]:
        """Decide about an entry of a folder; yield the entry if it is a folder to enter."""
        path = (*folder.path, child.name)
        is_folder = child.kind == "folder"
        within = self.glob is not None and is_folder and self.glob.may_match_below(path)
        if self.glob is not None and not within and not self.glob.matches(path):
            return
        in_table = table is not None and table.holds(path)
        end = "/" if is_folder else ""
        if not in_table and is_hidden(child.name):
            self._ignore(path, HIDDEN, end=end)
        elif not in_table and child.name.lower() in SYSTEM_FOLDERS:
            self._ignore(path, "what a file system keeps for itself, by its name", end=end)
        elif is_folder and self.glob is not None and not within:
            self._ignore(path, "a folder, and the glob takes files only; end it in /** to read what is below", end=end)
        elif is_folder:
            below = _Folder(path=path, real_path="", by_link=folder.by_link or child.is_link, table=table)
            if child.is_link:
                self._links.append((folder.path, below))
            else:
                real = f"{folder.real_path.rstrip('/')}/{child.name}"
                yield _Folder(path=path, real_path=real, by_link=below.by_link, table=table)
        elif child.kind == "broken":
            self._fail(path, f"{child.problem}; repair it, or move it away")
        elif child.kind == "special":
            decide = self._fail if looks_like_data(child.name, self.kind) else self._ignore
            decide(path, f"is {child.problem}, not a file")
        else:
            self._sort_file(path, child, table, by_link=folder.by_link or child.is_link)

    def _sort_file(self, path: Parts, child: Child, table: _DeltaTable | None, *, by_link: bool) -> None:
        if table is not None:
            if path in table.files:
                self.files.append(WalkedFile(path=path, partitions=table.files[path], by_link=by_link))
            else:
                self._ignore(path, f"not in the current version of its {DELTA} table")
            return
        self._settle(WalkedFile(path=path, by_link=by_link), *by_name(child.name, self.kind))

    def _settle(self, file: WalkedFile, verdict: Verdict, why: str) -> None:
        if verdict == "read":
            self.files.append(file)
        elif verdict == "sniff":
            self._unclear.append(file)
        elif verdict == "failed":
            self._fail(file.path, why)
        else:
            self._ignore(file.path, why)

    def _follow(self, containing: Parts, link: _Folder) -> list[_Folder]:
        """Return the folder that a link leads to, unless that folder contains the link or the input."""
        target = self.tree.real_path(link.path)
        inside = (self.tree.real_path(containing), self._root)
        if any(real == target or real.startswith(target.rstrip("/") + "/") for real in inside):
            self._ignore(link.path, f"a link to {storable(target)}, which contains it", end="/")
            return []
        around = table_around(Path(target)) if link.table is None else None
        if around is not None:
            self._fail(
                link.path, f"is a link into the {around[1]} table {around[0]}; link to the folder of the table", "/"
            )
            return []
        return [_Folder(path=link.path, real_path=target, by_link=True, table=link.table)]

    def _look_into_unclear(self) -> None:
        """Decide by their first bytes about the files whose names do not decide."""

        def head(file: WalkedFile) -> bytes | OSError:
            try:
                return self.tree.head(file.path)
            except OSError as error:
                return error

        heads = in_parallel(head, self._unclear) if isinstance(self.tree, StoreTree) else map(head, self._unclear)
        for file, first_bytes in zip(self._unclear, heads, strict=True):
            if isinstance(first_bytes, OSError):
                self._fail(
                    file.path, f"cannot be read ({first_bytes.strerror or first_bytes}); allow it, or move it away"
                )
            else:
                known = WalkedFile(path=file.path, by_link=file.by_link, by_head=True)
                self._settle(known, *by_head(file.path[-1], first_bytes, self.kind))

    def _leave_out_copies(self) -> None:
        """Keep one of several paths to a file; prefer one without a link, and one that is read by its name."""
        by_rank = sorted(self.files, key=lambda file: (file.by_head, file.by_link, file.path))
        kept: dict[str, WalkedFile] = {}
        links = any(file.by_link for file in by_rank)
        for file in by_rank:
            real = self.tree.real_path(file.path) if links else "/".join(file.path)
            if real in self.left_out:
                self._ignore(file.path, "the file that this command writes")
            elif kept.setdefault(real, file) is not file:
                self._ignore(file.path, f"the same file as {_shown(kept[real].path)}, which is read")
        self.files = sorted(kept.values(), key=lambda file: file.path)

    def _ignore(self, path: Parts, reason: str, end: str = "") -> None:
        self.ignored[_shown(path, end)] = reason

    def _fail(self, path: Parts, problem: str, end: str = "") -> None:
        self.failed[_shown(path, end)] = storable(problem)


def _shown(path: Parts, end: str = "") -> str:
    return stored_name("/".join(path)) + end if path else "."
