"""The output folder of a job, on a disk or in a store: the one place where the two are told apart."""

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
    """Return the output folder at a place; nothing needs to be there yet."""
    if isinstance(place, UrlPath):
        # Loaded with the store's own library, and like it only by commands that are given a URL.
        from specter_jobs.output.folder.store import StoreFolder

        return StoreFolder(place)
    return _DiskFolder(place)


class OutputFolder(ABC):
    """An output folder of a job.

    `folder / name` is the location of a file in it, and files are written there with `specter_batch.storage.files`,
    which leaves them whole or absent on a disk and in a store alike.

    Attributes:
        place: Where the folder is.
        seconds_between_writes: How long to wait before a file that tells the progress is written again.
        keeps_empty_folders: Whether a folder without files is there; in a store a folder is what names begin with.
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
        """Whether a replacement was interrupted while it took this night's place: files of two nights are here."""
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
            ConfigError: The folder belongs to another command or to nobody, or another job is at work on it.
        """
        mark_output(self.place, command)
        with self.locked():
            yield

    def prepare(self, command: str, kinds: Iterable[str]) -> None:
        """Mark the folder as a command's and make the subfolders of these kinds of files, where there are folders."""
        mark_output(self.place, command)
        self.make(kinds)

    def remove_files(self, names: Iterable[str]) -> None:
        """Remove files below the folder, those that are still there."""
        list(in_parallel(lambda name: (self.place / name).unlink(missing_ok=True), names))

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock; of a holder that dies a disk's is free at once, one in a store some time after.

        Raises:
            ConfigError: Another job holds it; the message says which.
        """

    @abstractmethod
    def holder(self) -> str | None:
        """Say which job is at work on the folder; None when none is."""

    @abstractmethod
    def make(self, names: Iterable[str]) -> None:
        """Make subfolders, where there are folders without files."""

    @abstractmethod
    def add_entry(self, ledger: str, key: str, entry: BaseModel) -> None:
        """Add an entry to a ledger; it is there, whole, when this returns.

        Args:
            ledger: File name of the ledger.
            key: What the entry is of. A later entry of the same key stands for the earlier one.
            entry: The entry.
        """

    @abstractmethod
    def entries(self, ledger: str, kind: type[Entry]) -> list[Entry]:
        """Return the readable entries of a ledger, later ones last; a half-written one is left out."""

    @abstractmethod
    def fold(self, ledger: str, entries: Sequence[BaseModel]) -> None:
        """Make a complete ledger one file, which the next night reads in one request; these are all its entries."""

    @abstractmethod
    def is_intact(self, file: OutputFile) -> bool:
        """Say whether a file below the folder holds the bytes that its SHA-256 was taken of."""

    @abstractmethod
    def files(self) -> list[str]:
        """Return the names of all files below the folder."""

    @abstractmethod
    def take(self, names: Iterable[str], source: "OutputFolder") -> None:
        """Move files from another folder of the same kind to here; those that were moved before are passed over."""

    @abstractmethod
    def sync(self, names: Iterable[str]) -> None:
        """Make sure that a power cut brings none of these names back, nor loses one."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the folder with all that is in it."""

    @abstractmethod
    def scratch(self) -> AbstractContextManager[Path]:
        """Yield a local folder for what is needed only while a job runs; it is removed at the end."""


class _DiskFolder(OutputFolder):
    """An output folder on a disk."""

    seconds_between_writes = 0.5  # small shards come faster than anyone asks, and each writing waits for the disk
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
        """Leave the ledger as it is: it is one file already."""

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
        """Yield a folder below this one; one that a killed run left is removed, as the caller holds the lock."""
        for stale in self._folder.glob(f"{SURVEY_SCRATCH}*"):
            shutil.rmtree(stale)
        with temporary_folder(self._folder) as scratch:
            yield scratch


@contextmanager
def temporary_folder(parent: Path | None) -> Iterator[Path]:
    """Yield a new local folder that is removed at the end, in `parent` or else in TMPDIR."""
    scratch = Path(tempfile.mkdtemp(prefix=SURVEY_SCRATCH, dir=parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def append_line(path: Path, entry: BaseModel) -> None:
    """Append one entry and sync it to disk."""
    with path.open("ab+") as stream:
        # A kill may have left half a line: it is closed off, and readers pass over what they cannot parse.
        stream.seek(0, os.SEEK_END)
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(entry.model_dump_json().encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_journal(path: Location, kind: type[Entry]) -> list[Entry]:
    """Return the readable entries; a half-written one is as if it were not there."""
    try:
        with path.open("rb") as lines:  # one by one: a ledger of 100,000 shards takes 100 MB
            return read_lines(lines, kind)
    except FileNotFoundError:
        return []


def read_lines(lines: Iterable[bytes], kind: type[Entry]) -> list[Entry]:
    """Return the entries among these lines."""
    entries = []
    for line in lines:
        try:
            entries.append(kind.model_validate_json(line))
        except ValidationError:
            continue
    return entries
