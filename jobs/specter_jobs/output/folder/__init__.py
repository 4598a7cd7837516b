"""The output folder of a job, on a disk or in a store. No other module needs to know which of the two it is."""

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from specter_batch.storage.files import file_sha256, sync_folder
from specter_batch.storage.location import Location, in_parallel, names_in, sizes_in
from specter_batch.storage.output_claim import folder_holder, folder_locked, mark_output
from specter_batch.storage.url_path import UrlPath
from specter_jobs.output.names import LABELS, REJECTS, STAGING, SURVEY_SCRATCH, SWAP_FILE, OutputFile

Entry = TypeVar("Entry", bound=BaseModel)


def output_folder(place: Location) -> "OutputFolder":
    """Return the output folder at a place. The folder need not exist yet."""
    if isinstance(place, UrlPath):
        # Imported here, like the store's library, only by commands that are given a URL.
        from specter_jobs.output.folder.store import StoreFolder

        return StoreFolder(place)
    return _DiskFolder(place)


class OutputFolder(ABC):
    """An output folder of a job.

    `folder / name` is the location of a file in it. Files are written there with `specter_batch.storage.files`. On a
    disk and in a store, a file is then either complete or absent.

    Attributes:
        place: Path or URL of the folder.
        seconds_between_writes: Minimum time between two writes of a file that shows the progress.
        keeps_empty_folders: True if a folder without files can exist. In a store, folders are only prefixes of names.
    """

    seconds_between_writes: float
    keeps_empty_folders: bool

    def __init__(self, place: Location) -> None:
        self.place = place

    def __truediv__(self, name: str) -> Location:
        return self.place / name

    def __str__(self) -> str:
        return str(self.place)

    @property
    def staging(self) -> "OutputFolder":
        """The folder in which a replacement of this night is labelled."""
        return output_folder(self.place / STAGING)

    @property
    def is_swapping(self) -> bool:
        """Whether a replacement was interrupted while files were moved, so that files of two nights are here."""
        return SWAP_FILE in self.staging.names()

    def names(self) -> set[str]:
        """Return the names of the files and folders directly in the folder."""
        return names_in(self.place)

    def sizes(self) -> dict[str, int]:
        """Return the size of each file of labels and of rejects, by its name below the folder."""
        return {
            f"{kind}/{name}": size for kind in (LABELS, REJECTS) for name, size in sizes_in(self.place / kind).items()
        }

    @contextmanager
    def claimed(self, command: str) -> Iterator[None]:
        """Mark the folder as a command's and hold its lock.

        Raises:
            ConfigError: The folder belongs to another command or is not an output folder, or another job is using it.
        """
        mark_output(self.place, command)
        with self.locked():
            yield

    def prepare(self, command: str, kinds: Iterable[str]) -> None:
        """Mark the folder as a command's, and make subfolders for these kinds of files (not in a store)."""
        mark_output(self.place, command)
        self.make(kinds)

    def remove_files(self, names: Iterable[str]) -> None:
        """Remove files below the folder, if they still exist."""
        list(in_parallel(lambda name: (self.place / name).unlink(missing_ok=True), names))

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock. If the holder dies, a lock on a disk is free at once, and a lock in a store after some time.

        Raises:
            ConfigError: Another job, named in the message, holds the lock.
        """

    @abstractmethod
    def holder(self) -> str | None:
        """Return the job that holds the lock; None if no job does."""

    @abstractmethod
    def make(self, names: Iterable[str]) -> None:
        """Make subfolders. Do nothing in a store, which has no empty folders."""

    @abstractmethod
    def add_entry(self, ledger: str, key: str, entry: BaseModel) -> None:
        """Add an entry to a ledger. When this returns, the entry is stored completely.

        Args:
            ledger: File name of the ledger.
            key: Key of the entry. A later entry replaces an earlier one with the same key.
            entry: The entry.
        """

    @abstractmethod
    def entries(self, ledger: str, kind: type[Entry]) -> list[Entry]:
        """Return the readable entries of a ledger, later ones last. A half-written entry is left out."""

    @abstractmethod
    def fold(self, ledger: str, entries: Sequence[BaseModel]) -> None:
        """Join all entries of a complete ledger to one file, which the next night reads in one request."""

    @abstractmethod
    def is_intact(self, file: OutputFile) -> bool:
        """Return whether a file below the folder still has the recorded SHA-256."""

    @abstractmethod
    def files(self) -> list[str]:
        """Return the names of all files below the folder."""

    @abstractmethod
    def take(self, names: Iterable[str], source: "OutputFolder") -> None:
        """Move files from another folder of the same kind to here. Files that were moved before are skipped."""

    @abstractmethod
    def sync(self, names: Iterable[str]) -> None:
        """Make sure that these names are still created, moved or removed after a power cut."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the folder and everything in it."""

    @abstractmethod
    def scratch(self) -> AbstractContextManager[Path]:
        """Yield a local folder for temporary files of a job. It is removed at the end."""


class _DiskFolder(OutputFolder):
    """An output folder on a disk."""

    seconds_between_writes = 0.5  # small shards finish fast, and each write waits for the disk
    keeps_empty_folders = True

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._folder = place

    def locked(self) -> AbstractContextManager[None]:
        return folder_locked(self._folder)

    def holder(self) -> str | None:
        return folder_holder(self._folder)

    def make(self, names: Iterable[str]) -> None:
        for name in names:
            (self._folder / name).mkdir(parents=True, exist_ok=True)

    def add_entry(self, ledger: str, key: str, entry: BaseModel) -> None:  # noqa: ARG002 - entries hold their key
        append_line(self._folder / ledger, entry)

    def entries(self, ledger: str, kind: type[Entry]) -> list[Entry]:
        return read_journal(self._folder / ledger, kind)

    def fold(self, ledger: str, entries: Sequence[BaseModel]) -> None:
        """Do nothing, because the ledger is one file already."""

    def is_intact(self, file: OutputFile) -> bool:
        path = self._folder / file.name
        try:
            return path.stat().st_size == file.size and file_sha256(path) == file.sha256
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return False

    def files(self) -> list[str]:
        return [path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file()]

    def take(self, names: Iterable[str], source: OutputFolder) -> None:
        list(in_parallel(lambda name: self._take(name, Path(str(source.place))), names))

    def _take(self, name: str, source: Path) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            (source / name).replace(target)
        except FileNotFoundError:
            return  # moved before an interruption

    def sync(self, names: Iterable[str]) -> None:
        for folder in {(self._folder / name).parent for name in names}:
            if folder.is_dir():
                sync_folder(folder)

    def remove(self) -> None:
        if self._folder.exists():
            shutil.rmtree(self._folder)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a folder below this one. A folder of a killed run is removed, because the caller holds the lock."""
        for stale in self._folder.glob(f"{SURVEY_SCRATCH}*"):
            shutil.rmtree(stale)
        with temporary_folder(self._folder) as scratch:
            yield scratch


@contextmanager
def temporary_folder(parent: Path | None) -> Iterator[Path]:
    """Yield a new local folder in `parent`, or in TMPDIR. It is removed at the end."""
    scratch = Path(tempfile.mkdtemp(prefix=SURVEY_SCRATCH, dir=parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def append_line(path: Path, entry: BaseModel) -> None:
    """Append one entry and sync it to disk."""
    with path.open("ab+") as stream:
        # A kill may have left half a line. The line is ended here, and readers skip lines that they cannot parse.
        stream.seek(0, os.SEEK_END)
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(entry.model_dump_json().encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_journal(path: Location, kind: type[Entry]) -> list[Entry]:
    """Return the readable entries. A half-written entry is left out."""
    try:
        with path.open("rb") as lines:  # one by one: a ledger of 100,000 shards takes 100 MB
            return read_lines(lines, kind)
    except FileNotFoundError:
        return []


def read_lines(lines: Iterable[bytes], kind: type[Entry]) -> list[Entry]:
    """Return the entries in these lines, without lines that are not entries."""
    entries = []
    for line in lines:
        try:
            entries.append(kind.model_validate_json(line))
        except ValidationError:
            continue
    return entries
