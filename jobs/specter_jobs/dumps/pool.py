"""Several input files at once, each in a process of its own choosing; the same outputs whatever their number."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from typing import Any

from specter_batch.errors import SpecterBatchError, WrongFormatError
from specter_batch.storage.stored_names import storable
from specter_jobs.dumps.account import IngestEntry
from specter_jobs.dumps.files.inputs import Advance
from specter_jobs.dumps.ingest_unit import IngestTask, ingest_unit
from specter_jobs.dumps.unit import IngestUnit

# What a message quotes of a file that is something else can be of any length; what to do stands at its end.
LINE_CHARACTERS = 400
POLL_SECONDS = 0.2
# Units handed out per worker: waiting for thousands at once would cost more than the work on small files.
AHEAD = 4
WORKER_DIED = "a worker process died, perhaps for want of memory; run again with fewer --workers"
# Starting processes takes a second or two, in which one process reads this much.
SPAWN_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a unit ended.

    Attributes:
        unit: Which.
        entry: Its new line for the ledger; None where it is unchanged or failed.
        error: Why it failed.
        wrong_format: It failed because it is no file of the format.
    """

    unit: IngestUnit
    entry: IngestEntry | None = None
    error: str | None = None
    wrong_format: bool = False


Work = tuple[IngestUnit, str | None]  # a unit, and the content it was already ingested with


def run_units(work: Sequence[Work], task: IngestTask, *, workers: int, advance: Advance) -> Iterator[Outcome]:
    """Yield each unit's outcome as it ends.

    With one worker, one unit or little to do, everything happens in this process.

    Args:
        work: In the order to begin them.
        task: The same for all.
        workers: Most processes.
        advance: Told bytes on disk as they are read.
    """
    workers = min(workers, len(work))
    if workers > 1 and sum(path.stat().st_size for unit, _ in work for path in unit.paths) >= SPAWN_BYTES:
        yield from _in_processes(work, task, workers=workers, advance=advance)
        return
    for unit, known in work:
        yield run_unit(unit, task, known, advance)


def run_unit(unit: IngestUnit, task: IngestTask, known: str | None, advance: Advance) -> Outcome:
    """Ingest a unit; one file's trouble, whatever it is, must not cost the others."""
    try:
        return Outcome(unit=unit, entry=ingest_unit(unit, task, advance, known=known))
    except WrongFormatError as error:
        return Outcome(unit=unit, error=_line(error), wrong_format=True)
    except (SpecterBatchError, OSError) as error:
        return Outcome(unit=unit, error=_line(error))
    except Exception as error:
        return Outcome(unit=unit, error=f"{type(error).__name__}: {_line(error)}")


def _line(error: Exception) -> str:
    line = " ".join(storable(str(error)).split())
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 100]} … {line[-100:]}"


def _in_processes(work: Sequence[Work], task: IngestTask, *, workers: int, advance: Advance) -> Iterator[Outcome]:
    # Spawned, not forked: duckdb and pyarrow have threads of their own, which a fork would leave in the middle.
    context = multiprocessing.get_context("spawn")
    read, stop = context.Value("q", 0), context.Event()
    shown = 0
    queue, pending = deque(work), dict[Future[Outcome], IngestUnit]()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(read, stop)) as pool:
        try:
            while queue or pending:
                while queue and len(pending) < AHEAD * workers:
                    unit, known = queue.popleft()
                    try:
                        pending[pool.submit(_work, unit, task, known)] = unit
                    except BrokenProcessPool:
                        yield Outcome(unit=unit, error=WORKER_DIED)
                done, _ = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                total = int(read.value)
                advance(total - shown)
                shown = total
                for future in done:
                    unit = pending.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        yield Outcome(unit=unit, error=WORKER_DIED)
        finally:
            if pending:
                stop.set()
                pool.shutdown(cancel_futures=True)


# Of a worker process; set once by `_start`.
_shared: dict[str, Any] = {}


def _start(read: Any, stop: Any) -> None:
    _shared.update(read=read, stop=stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A worker must not write on when its parent was killed: the next run may be at work by then.
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait_for([sentinel]), os._exit(1)), daemon=True).start()


def _work(unit: IngestUnit, task: IngestTask, known: str | None) -> Outcome:
    def advance(size: int) -> None:
        read, stop = _shared["read"], _shared["stop"]
        with read.get_lock():
            read.value += size
        if stop.is_set():
            raise KeyboardInterrupt

    return run_unit(unit, task, known, advance)
