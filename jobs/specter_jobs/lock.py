"""One job at a time on an output folder."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from specter_batch.errors import ConfigError

LOCK_FILE = "_lock"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the folder's lock. The kernel gives it back when the holder dies, so a stale lock cannot be.

    Raises:
        ConfigError: Another job holds it; the message says which.
    """
    with (out / LOCK_FILE).open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise ConfigError(f"{out}: {holder} is at work on it; wait for it or give another folder") from None
        stream.seek(0)
        stream.truncate()
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield
