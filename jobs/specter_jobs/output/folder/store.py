"""The output folder of a job in an object store."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pydantic import BaseModel

from specter_batch.storage.files import write_text, written_whole
from specter_batch.storage.location import in_parallel
from specter_batch.storage.output_claim import LOCK_FILE, this_process
from specter_batch.storage.url_path import UrlPath
from specter_jobs.output.folder import Entry, OutputFolder, read_journal, read_lines, temporary_folder
from specter_jobs.output.folder.store_lock import lock_object_held, read_claim
from specter_jobs.output.names import LEDGER_FOLDER, OutputFile


class StoreFolder(OutputFolder):
    """An output folder in an object store, where nothing can be appended to a file and nothing is renamed."""

    seconds_between_writes = 15.0  # each write is a request that costs money and time
    keeps_empty_folders = False

    def __init__(self, place: UrlPath) -> None:
        super().__init__(place)
        self._folder = place

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock object. If the holder dies, the lock is free after some time."""
        return lock_object_held(self._folder / LOCK_FILE, holder=this_process())

    def holder(self) -> str | None:
        """Return the job that holds the lock; None if no job does."""
        claim = read_claim(self._folder / LOCK_FILE)
        return claim.holder if claim is not None and claim.is_alive else None

    def make(self, names: Iterable[str]) -> None:
        """Do nothing: a store has no folders."""

    def add_entry(self, ledger: str, key: str, entry: BaseModel) -> None:  # noqa: ARG002 - one ledger in a store
        """Write an entry as its own object. An object of an earlier try is replaced."""
        write_text(self._folder / LEDGER_FOLDER / f"{key}.json", entry.model_dump_json())

    def entries(self, ledger: str, kind: type[Entry]) -> list[Entry]:
        """Return the entries of the joined file, followed by entries that are not joined yet."""
        folded = read_journal(self._folder / ledger, kind)
        folder = self._folder / LEDGER_FOLDER
        names = sorted(name for name in folder.names() if name.endswith(".json"))
        return folded + read_lines(in_parallel(lambda name: (folder / name).read_bytes(), names), kind)

    def fold(self, ledger: str, entries: Sequence[BaseModel]) -> None:
        """Write all entries to one file of JSON lines, and then remove their objects.

        In between, each entry exists twice with the same content.
        """
        write_text(self._folder / ledger, "".join(f"{entry.model_dump_json()}\n" for entry in entries))
        self.remove_files(f"{LEDGER_FOLDER}/{name}" for name in sorted((self._folder / LEDGER_FOLDER).names()))

    def is_intact(self, file: OutputFile) -> bool:
        """Return whether an object still has the recorded SHA-256."""
        try:
            return hashlib.sha256((self._folder / file.name).read_bytes()).hexdigest() == file.sha256
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return False

    def files(self) -> list[str]:
        """Return the names of all objects below the folder."""
        return list(self._folder.below(recursive=True))

    def take(self, names: Iterable[str], source: OutputFolder) -> None:
        """Copy objects from another folder and remove them there."""
        list(in_parallel(lambda name: self._take(name, source), names))

    def _take(self, name: str, source: OutputFolder) -> None:
        try:
            content = (source / name).read_bytes()
        except FileNotFoundError:
            return  # moved before an interruption
        with written_whole(self._folder / name) as partial:
            partial.write_bytes(content)
        (source / name).unlink(missing_ok=True)

    def sync(self, names: Iterable[str]) -> None:
        """Do nothing, because a store keeps what it has confirmed."""

    def remove(self) -> None:
        """Remove all objects below the folder."""
        self.remove_files(self._folder.below(recursive=True))

    def scratch(self) -> AbstractContextManager[Path]:
        """Yield a folder in TMPDIR, because the output is not on this machine."""
        return temporary_folder(None)
