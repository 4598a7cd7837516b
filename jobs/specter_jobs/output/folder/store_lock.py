"""The lock of an output folder in a store, so that only one job writes there: an object that its holder renews."""

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from specter_batch.errors import BusyError, StorageError
from specter_batch.logs import log
from specter_batch.start import sigint_is_heard
from specter_batch.storage.files import write_text
from specter_batch.storage.url_path import UrlPath

# Six heartbeats, so that a slow store or a clock that is wrong by a minute does not make a lock stale.
STALE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Times of a lock in seconds.

    Attributes:
        beat: Time between two heartbeats.
        settle: Time within which a store answers. If two jobs take over a stale lock at once, the first one sees the
            claim of the second one after this time.
    """

    beat: float = 20.0
    settle: float = 2.0


PACE = Pace()


class Claim(BaseModel):
    """The content of the lock object.

    Attributes:
        token: Random text that identifies the holder.
        machine: Running kernel and process namespace in which `pid` is valid; None if not known.
        beat: Time of the last heartbeat in seconds since the epoch, by the holder's clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    holder: str
    token: str
    pid: int
    machine: str | None
    beat: float

    @property
    def is_alive(self) -> bool:
        """Whether the holder may still run. It does not if its process is gone or its last heartbeat is old."""
        if self.machine is not None and self.machine == _machine() and not _runs(self.pid):
            return False
        return time.time() - self.beat < STALE_SECONDS


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process of another user
        pass
    return True


@contextmanager
def lock_object_held(lock: UrlPath, *, holder: str, pace: Pace = PACE) -> Iterator[None]:
    """Hold a lock object.

    Raises:
        BusyError: Another job, named in the message, holds the lock.
        StorageError: The store refuses, or another job took the lock over while the store could not be reached.
    """
    mine = Claim(holder=holder, token=secrets.token_hex(16), pid=os.getpid(), machine=_machine(), beat=time.time())
    _take(lock, mine, pace)
    heart = _Heart(lock, mine, pace)
    heart.start()
    try:
        with sigint_is_heard():  # `_Heart` sends it
            yield
    except KeyboardInterrupt:
        if heart.taken_by is None:
            raise
        raise StorageError(f"{lock.parent}: {heart.taken_by} has taken over the lock; this job stops") from None
    finally:
        heart.stop()
        try:
            if _is_of(lock, mine):
                lock.unlink(missing_ok=True)
        except StorageError as error:  # the lock expires by itself, and an earlier error is more important
            log("lock not removed", level=logging.WARNING, error=str(error))


def read_claim(lock: UrlPath) -> Claim | None:
    """Return the content of the lock object; None if it does not exist or cannot be read."""
    try:
        return Claim.model_validate_json(lock.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _take(lock: UrlPath, mine: Claim, pace: Pace) -> None:
    if lock.put_new(mine.model_dump_json().encode()):
        return
    other = read_claim(lock)
    if other is not None and other.is_alive:
        raise BusyError(
            f"{lock.parent}: {other.holder} is at work in this folder; wait until it ends, or give another folder. "
            f"Its last heartbeat was {max(time.time() - other.beat, 0):.0f} s ago. If it was killed, "
            f"run the same command again {STALE_SECONDS:.0f} s after that"
        )
    log("lock taken over", level=logging.WARNING, out=str(lock.parent), holder=other.holder if other else "unknown")
    write_text(lock, mine.model_dump_json())
    time.sleep(pace.settle)
    if not _is_of(lock, mine):
        now = read_claim(lock)
        holder = now.holder if now else "another job"
        raise BusyError(f"{lock.parent}: {holder} is at work in this folder; wait until it ends")


def _is_of(lock: UrlPath, claim: Claim) -> bool:
    held = read_claim(lock)
    return held is not None and held.token == claim.token


class _Heart(threading.Thread):
    """Renews a claim, and interrupts the job when another job has taken the lock."""

    def __init__(self, lock: UrlPath, mine: Claim, pace: Pace) -> None:
        super().__init__(name="lock", daemon=True)
        self.taken_by: str | None = None
        self._lock = lock
        self._mine = mine
        self._beat = pace.beat
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(self._beat):
            try:
                held = read_claim(self._lock)
                if held is not None and held.token != self._mine.token:
                    self.taken_by = held.holder
                    log("lock lost", level=logging.ERROR, out=str(self._lock.parent), holder=held.holder)
                    main = threading.main_thread().ident or 0
                    signal.pthread_kill(main, signal.SIGINT)  # wakes a driver that waits for its workers
                    return
                write_text(self._lock, self._mine.model_copy(update={"beat": time.time()}).model_dump_json())
            except OSError as error:  # the next heartbeat may succeed; after too many failures other jobs take the lock
                log("lock not renewed", level=logging.WARNING, error=str(error))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _machine() -> str | None:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None
