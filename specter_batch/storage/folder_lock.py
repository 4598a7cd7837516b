"""One process at a time on a local folder; the kernel gives the lock back when its holder dies."""

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
# Who only looks at the lock (`folder_holder`) has it for an instant; nobody is turned away for that.
PATIENCE_SECONDS = 1.0


def this_process() -> str:
    """Return the name under which this process holds locks."""
    return f"process {os.getpid()} on {socket.gethostname()}"


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that is there.

    Raises:
        ConfigError: Another process holds it; the message says which.
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
    """Say which process is at work on a folder; None when none is."""
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
