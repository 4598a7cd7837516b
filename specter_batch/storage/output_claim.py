"""What claims an output folder: a marker that names the command that made it, and a lock that one process holds.

No other command writes or deletes in a marked folder. The kernel releases the lock when its process dies.
"""

import fcntl
import os
import shlex
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from specter_batch.display import storable
from specter_batch.errors import ConfigError, StorageRefusedError
from specter_batch.storage.files import write_text
from specter_batch.storage.location import Location, folders_above, names_in
from specter_batch.storage.url_path import UrlPath

MARKER_FILE = "_specter_batch.json"
LOCK_FILE = "_lock"
# `folder_holder` takes the lock for a moment, so `folder_locked` waits this long before it raises an error.
PATIENCE_SECONDS = 1.0

# Names that can be in any folder: our lock and marker, and folders that file systems create.
_NEUTRAL = {LOCK_FILE, MARKER_FILE, "lost+found", ".snapshot"}

# Older versions wrote no marker. A command made such a folder if all names of one of the command's sets are in it. The
# names are those of the older versions, so they stay as they are when a file gets another name.
_TELLTALES: tuple[tuple[str, tuple[frozenset[str], ...]], ...] = (
    ("export", (frozenset({"bundle.json"}),)),
    ("train", (frozenset({"run.json", "model.safetensors"}), frozenset({"training.json"}))),
    (
        "ingest",
        (
            frozenset({"ingest.json", "papers"}),
            frozenset({"ingest.jsonl", "papers"}),
            frozenset({"papers", "rejects", "_index"}),
        ),
    ),
    (
        "classify",
        (
            frozenset({"plan.json", "progress.json"}),
            frozenset({"ledger.jsonl", "labels"}),
            frozenset({"ledger", "progress.json"}),
            frozenset({"labels", "rejects", LOCK_FILE}),
            frozenset({"labels", "rejects", "report.json"}),
            frozenset({"progress.json", LOCK_FILE}),
        ),
    ),
    ("evaluate", (frozenset({"predictions.parquet", "report.json"}),)),
    ("baseline", (frozenset({"baseline.json", "baseline.md"}),)),
    ("scidocs", (frozenset({"scidocs.json", "dropped.parquet"}),)),
)
# Names that a command leaves if it is killed at its start, or if a gate fails. They count if there are no other names.
_FIRST_NAMES: tuple[tuple[str, frozenset[str]], ...] = (
    ("classify", frozenset({"labels", "rejects", "ingested"})),
    ("ingest", frozenset({"papers", "rejects", "_index"})),
    ("export", frozenset({"parity.json"})),
    ("evaluate", frozenset({"predictions.parquet"})),
)

_WRITES_MODELS = frozenset({"train", "export"})


class OutputMarker(BaseModel):
    """The content of `_specter_batch.json`.

    Attributes:
        command: Name of the `specter-batch` command that made the folder.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may add fields

    command: str


def mark_output(folder: Location, command: str) -> None:
    """Create an output folder if needed, and write the marker of a command before anything else is written there.

    The marker is written atomically. If the process is killed, the same call succeeds the next time. A folder that this
    command made before is left unchanged, or gets its marker if an older version made it.

    Args:
        folder: Local folder, or folder in a store.
        command: Name of the command, such as `classify`.

    Raises:
        ConfigError: The folder belongs to another command, holds files that no command of this tool wrote, or cannot
            hold a model.
    """
    name = str(folder)
    if command in _WRITES_MODELS and storable(name) != name:
        raise ConfigError(
            f"{storable(name)}: the name is not UTF-8, and the libraries that write a model cannot open such a folder; "
            "give another one"
        )
    if not check_output(folder, command):
        if not isinstance(folder, UrlPath):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / MARKER_FILE, OutputMarker(command=command).model_dump_json(indent=2) + "\n")


def check_output(folder: Location, command: str) -> bool:
    """Check that a command may write into a folder; return whether the folder has the marker. Nothing is changed.

    Args:
        folder: Local folder, or folder in a store; it need not exist.
        command: Name of the command, such as `classify`.

    Raises:
        ConfigError: The folder belongs to another command, or holds files that no command of this tool wrote.
    """
    if not isinstance(folder, UrlPath) and folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; give a folder for the output of {command}")
    names = names_in(folder)
    made_by = output_command(folder, names=names)
    if made_by is None and any(first.issuperset(foreign_names(names)) for who, first in _FIRST_NAMES if who == command):
        names = set()
    if made_by is not None and made_by != command:
        raise ConfigError(
            f"{folder}: holds the output of `specter-batch {made_by}`; give {command} another folder, nothing was "
            "changed"
        )
    if made_by is None and (strangers := foreign_names(names)):
        shown = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        raise ConfigError(
            f"{folder}: is not empty and holds no output of {command} (it holds {shown}); give another folder, "
            "nothing was changed"
        )
    return MARKER_FILE in names and made_by is not None


def output_command(folder: Location, *, names: Iterable[str] | None = None) -> str | None:
    """Return the name of the command that made a folder, or None if no command of this tool made it.

    Folders of older versions, which wrote no marker, are recognised by their files.

    Args:
        folder: Local folder, or folder in a store.
        names: The names in the folder, if the caller has listed it already.

    Raises:
        ConfigError: The marker exists but is not valid.
    """
    held = set(names_in(folder) if names is None else names)
    by_files = next((command for command, sets in _TELLTALES if any(held >= files for files in sets)), None)
    if MARKER_FILE not in held:
        return by_files
    try:
        content = (folder / MARKER_FILE).read_bytes()
    except FileNotFoundError:
        return by_files  # the marker was removed after the folder was listed
    try:
        return OutputMarker.model_validate_json(content).command
    except ValidationError:
        if by_files is not None or not foreign_names(held):
            return by_files
        raise ConfigError(
            f"{folder / MARKER_FILE}: is damaged, so it is unknown which command made the folder; remove this file "
            "if the folder may be overwritten"
        ) from None


def check_outside_outputs(file: Location, what: str) -> None:
    """Check that a file to write is not inside the output folder of a command, where it could replace a file.

    Args:
        file: The file; it need not exist.
        what: The option that names the file, for the message.

    Raises:
        ConfigError: It is inside such a folder.
    """
    for folder in folders_above(file):
        try:
            made_by = output_command(folder)
        except (PermissionError, StorageRefusedError):  # the folders above are not ours to see
            return
        if made_by is not None:
            raise ConfigError(
                f"{what} {file}: is inside {folder}, which holds the output of `specter-batch {made_by}`; give a file "
                "in another folder, nothing was changed"
            )


def foreign_names(names: Iterable[str]) -> list[str]:
    """Return the sorted names without the tool's lock and marker and without files of interrupted writes."""
    return sorted(name for name in names if name not in _NEUTRAL and not name.endswith(".partial"))


def this_process() -> str:
    """Return the name under which this process holds locks."""
    return f"process {os.getpid()} on {socket.gethostname()}"


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Hold the lock of an existing folder while the block runs.

    Raises:
        ConfigError: Another process, named in the message, holds the lock, or the name of the lock is no file.
    """
    _check_lock(folder / LOCK_FILE)
    with (folder / LOCK_FILE).open("a+") as stream:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not _taken(stream, fcntl.LOCK_EX):
            if time.monotonic() > give_up:
                raise ConfigError(
                    f"{folder}: {_name(stream)} is at work in this folder; wait until it ends, or give another folder"
                )
            time.sleep(0.05)
        stream.seek(0)
        stream.truncate()
        stream.write(this_process())
        stream.flush()
        yield


def folder_holder(folder: Path) -> str | None:
    """Return the name of the process that holds the lock of a folder; None if no process does.

    Raises:
        ConfigError: The name of the lock is no file.
    """
    _check_lock(folder / LOCK_FILE)
    try:
        with (folder / LOCK_FILE).open() as stream:
            return None if _taken(stream, fcntl.LOCK_SH) else _name(stream)
    except FileNotFoundError:
        return None


def _check_lock(path: Path) -> None:
    """Raise an error if a lock is a folder, a device or a pipe: it could not be locked, or opening it would hang."""
    if path.exists() and not path.is_file():
        remedy = f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.old')}"
        raise ConfigError(
            f"{path}: is a folder, device or pipe, or a link to one, and cannot be a lock; move it away: {remedy}"
        )


def _taken(stream: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _name(stream: TextIO) -> str:
    stream.seek(0)
    return stream.read().strip() or "another process"
