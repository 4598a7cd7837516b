"""A lock on a local folder, held by one process at a time. The kernel releases it when the process dies."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from specter_batch.errors import ConfigError

LOCK_FILE = "_lock"
# `folder_holder` takes the lock for a moment, so `folder_locked` waits this long before it raises an error.
PATIENCE_SECONDS = 1.0


def this_process() -> str:
    """Return the name under which this process holds locks."""
    return f"process {os.getpid()} on {socket.gethostname()}"


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Hold the lock of an existing folder while the block runs.

    Raises:
        ConfigError: Another process, named in the message, holds the lock.
    """
    with (folder / LOCK_FILE).open("a+") as stream:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not _taken(stream, fcntl.LOCK_EX):
            if time.monotonic() > give_up:
                raise ConfigError(f"{folder}: {_name(stream)} is at work on it; wait for it or give another folder")
            time.sleep(0.05)
        stream.seek(0)
        stream.truncate()
        stream.write(this_process())
        stream.flush()
        yield


def folder_holder(folder: Path) -> str | None:
    """Return the name of the process that holds the lock of a folder; None if no process does."""
    try:
        with (folder / LOCK_FILE).open() as stream:
            return None if _taken(stream, fcntl.LOCK_SH) else _name(stream)
    except FileNotFoundError:
        return None


def _taken(stream: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _name(stream: TextIO) -> str:
    stream.seek(0)
    return stream.read().strip() or "another process"
