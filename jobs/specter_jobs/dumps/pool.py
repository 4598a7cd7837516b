"""Read several input files at once in worker processes; a file that killed a worker is named and read again."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from specter_jobs.dumps.ingest_unit import IngestUnit, Outcome, Run, Work
from specter_jobs.dumps.inputs import Advance
from specter_jobs.workers import processes
from specter_jobs.workers.events import Lost, Progress
from specter_jobs.workers.processes import WorkerProcesses
from specter_jobs.workers.scheduler import MAX_TRIES, Scheduler

# How often a worker reports its progress.
REPORT_SECONDS = 0.2
# If files are smaller than this on average, a worker gets several at once, because sending each one separately would
# take longer than reading it.
SMALL_BYTES, SMALL_AT_ONCE = 1 << 20, 4


def run_in_processes(
    work: Sequence[Work], run: Run, *, workers: int, advance: Advance, warn: Callable[[str], None]
) -> Iterator[Outcome]:
    """Yield each unit's outcome as it ends; the units are read in worker processes.

    Args:
        work: Units, in the order in which to start them.
        run: Function that ingests a unit in a worker process.
        workers: Number of processes.
        advance: Callback that receives the number of bytes read from disk since its last call.
        warn: Callback that receives a line for the user when a worker process dies.
    """
    tasks = [
        UnitTask(number=number, unit=unit, known=known, size=unit.size) for number, (unit, known) in enumerate(work)
    ]
    with closing(WorkerProcesses([partial(UnitWorker, run)] * workers)) as engine:
        at_once = SMALL_AT_ONCE if sum(task.size for task in tasks) < SMALL_BYTES * len(tasks) else 1
        scheduler = UnitScheduler(engine, tasks, advance, warn, at_once=at_once)
        for _, outcome in scheduler.outcomes(tasks, n_tasks=len(tasks)):
            yield outcome


@dataclass(frozen=True, kw_only=True)
class UnitTask:
    """A unit for a worker.

    Attributes:
        number: Position of the unit in the work, from 0.
        known: Content hash of the unit's last ingest, or None.
        size: Size of the unit on disk, in bytes.
    """

    number: int
    unit: IngestUnit
    known: str | None
    size: int

    @property
    def name(self) -> str:
        """The unit's name."""
        return self.unit.name


class UnitScheduler(Scheduler[UnitTask, Outcome]):
    """Distributes units to worker processes.

    Args:
        engine: The worker processes.
        tasks: Tasks for all units.
        advance: Callback that receives the number of bytes read from disk since its last call.
        warn: Callback that receives a line for the user when a worker process dies.
        at_once: Maximum number of units that a worker gets at once.
    """

    def __init__(
        self,
        engine: WorkerProcesses[UnitTask, Outcome],
        tasks: Sequence[UnitTask],
        advance: Advance,
        warn: Callable[[str], None],
        *,
        at_once: int,
    ) -> None:
        super().__init__(engine, at_once=at_once)
        self._advance, self._warn = advance, warn
        self._unread = [task.size for task in tasks]

    def progress(self, event: Progress) -> None:
        """Report bytes that were read; bytes that a second try reads again are not counted twice."""
        size = min(event.size, self._unread[event.number])
        self._unread[event.number] -= size
        self._advance(size)

    def report_loss(self, event: Lost, tasks: Sequence[UnitTask]) -> None:
        """Warn the user that a worker process died, with the names of the files that it was reading."""
        files = ", ".join(task.name for task in tasks) or "no file"
        self._warn(f"worker process {event.worker} died ({event.why}) while it read {files}; another one is started")

    def given_up(self, task: UnitTask, why: str) -> Outcome:
        """Return the outcome of a file that failed because too many workers died while they read it."""
        error = f"{MAX_TRIES} worker processes died while they read this file, the last because {why}; "
        return Outcome(unit=task.unit, error=f"{error}run the same command again with fewer --workers")


class UnitWorker:
    """Ingests units one after the other, in a separate process.

    Args:
        run: Function that ingests a unit.
        advance: Callback that reports the number of bytes read.
    """

    def __init__(self, run: Run, advance: processes.Advance) -> None:
        self._run = run
        self._advance = advance
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingest")
        self._stopped = threading.Event()

    def describe(self) -> Mapping[str, str]:
        """Return nothing: every worker is the same."""
        return {}

    def submit(self, task: UnitTask) -> "Future[Outcome]":
        """Start to ingest a unit."""
        return self._thread.submit(self._ingest, task)

    def stop(self) -> None:
        """Abandon the current unit at its next read; its unfinished files are removed."""
        self._stopped.set()
        self._thread.shutdown()

    def _ingest(self, task: UnitTask) -> Outcome:
        unreported, reported = 0, time.monotonic()

        def advance(size: int) -> None:
            nonlocal unreported, reported
            if self._stopped.is_set():
                raise KeyboardInterrupt
            unreported += size
            if time.monotonic() - reported >= REPORT_SECONDS:
                self._advance(task.number, unreported)
                unreported, reported = 0, time.monotonic()

        outcome = self._run(task.unit, task.known, advance)
        self._advance(task.number, unreported)
        return outcome
