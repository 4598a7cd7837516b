"""One job at a time on an output folder in a store: an object that its holder keeps fresh."""

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

# Six beats, so that a slow store or a clock that is a minute off makes no lock stale.
STALE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a lock beats and settles, in seconds.

    Attributes:
        beat: Between two signs of life.
        settle: A store answers within it; so of two that take over a stale lock at once, the first sees the second's
            claim.
    """

    beat: float = 20.0
    settle: float = 2.0


PACE = Pace()


class Claim(BaseModel):
    """The content of the lock object.

    Attributes:
        token: Tells one holder from another.
        machine: The running kernel and the process namespace: where `pid` means something. None if not known.
        beat: When the holder was last heard of, in seconds since the epoch by its clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    holder: str
    token: str
    pid: int
    machine: str | None
    beat: float

    @property
    def is_alive(self) -> bool:
        """Whether its holder may still be at work: a dead process of this machine is not, nor one silent for long."""
        if self.machine is not None and self.machine == _machine() and not _runs(self.pid):
            return False
        return time.time() - self.beat < STALE_SECONDS


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


@contextmanager
def lock_object_held(lock: UrlPath, *, holder: str, pace: Pace = PACE) -> Iterator[None]:
    """Hold a lock object.

    Raises:
        BusyError: Another job holds it; the message says which.
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
        raise StorageError(f"{lock.parent}: {heart.taken_by} has taken it over; this job stops") from None
    finally:
        heart.stop()
        try:
            if _is_of(lock, mine):
                lock.unlink(missing_ok=True)
        except StorageError as error:  # it ends by itself, and what went wrong before is what matters
            log("lock not removed", level=logging.WARNING, error=str(error))


def read_claim(lock: UrlPath) -> Claim | None:
    """Return what the lock object says; None when there is none, or none that can be read."""
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
            f"{lock.parent}: {other.holder} is at work on it; wait for it or give another folder (it was heard of "
            f"{max(time.time() - other.beat, 0):.0f} s ago; if it was killed, run the same command again "
            f"{STALE_SECONDS:.0f} s later)"
        )
    log("lock taken over", level=logging.WARNING, out=str(lock.parent), holder=other.holder if other else "unknown")
    write_text(lock, mine.model_dump_json())
    time.sleep(pace.settle)
    if not _is_of(lock, mine):
        now = read_claim(lock)
        raise BusyError(f"{lock.parent}: {now.holder if now else 'another job'} is at work on it; wait for it")


def _is_of(lock: UrlPath, claim: Claim) -> bool:
    held = read_claim(lock)
    return held is not None and held.token == claim.token


class _Heart(threading.Thread):
    """Keeps a claim fresh, and interrupts the job when the lock is no longer its own."""

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
            except OSError as error:  # the next beat may get through; a job that stays silent is taken for dead
                log("lock not renewed", level=logging.WARNING, error=str(error))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _machine() -> str | None:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None
