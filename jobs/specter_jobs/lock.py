"""One job at a time on an output folder."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from specter_batch.errors import ConfigError
from specter_batch.storage import Location
from specter_batch.url_path import UrlPath
from specter_jobs.store_lock import lock_object_held, read_claim

LOCK_FILE = "_lock"
# Who only looks at the lock (`holder`) has it for an instant; no job is turned away for that.
PATIENCE_SECONDS = 1.0


@contextmanager
def locked(out: Location) -> Iterator[None]:
    """Hold the folder's lock.

    That of a local folder is given back by the kernel when the holder dies; one in a store ends some time after.

    Raises:
        ConfigError: Another job holds it; the message says which.
    """
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    held = lock_object_held(out / LOCK_FILE, holder=holder) if isinstance(out, UrlPath) else _flocked(out, holder)
    with held:
        yield


@contextmanager
def _flocked(out: Path, holder: str) -> Iterator[None]:
    with (out / LOCK_FILE).open("a+") as stream:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not _taken(stream, fcntl.LOCK_EX):
            if time.monotonic() > give_up:
                raise ConfigError(f"{out}: {_name(stream)} is at work on it; wait for it or give another folder")
            time.sleep(0.05)
        stream.seek(0)
        stream.truncate()
        stream.write(holder)
        stream.flush()
        yield


def holder(out: Location) -> str | None:
    """Say which job is at work on a folder; None when none is."""
    if isinstance(out, UrlPath):
        claim = read_claim(out / LOCK_FILE)
        return claim.holder if claim is not None and claim.is_alive else None
    try:
        with (out / LOCK_FILE).open() as stream:
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
