"""Several input files at once, each in a process of its own choosing; the same outputs whatever their number."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from specter_jobs.dumps.files.inputs import Advance
from specter_jobs.dumps.unit import IngestUnit, Outcome
from specter_jobs.workers import processes
from specter_jobs.workers.events import Lost, Progress
from specter_jobs.workers.processes import WorkerProcesses
from specter_jobs.workers.scheduler import MAX_TRIES, Scheduler

# How often a worker reports its progress.
REPORT_SECONDS = 0.2
# Starting processes takes a second or two, in which one process reads this much.
SPAWN_BYTES = 16 << 20
# Of files smaller than this on average, a worker is given several at once: the way to the driver and back would cost
# more than the work.
SMALL_BYTES, SMALL_AT_ONCE = 1 << 20, 4


Work = tuple[IngestUnit, str | None]  # a unit, and the content it was already ingested with
# Reads a unit, with the content it was already ingested with, and tells the bytes that it reads.
Run = Callable[[IngestUnit, str | None, Advance], Outcome]


def run_units(
    work: Sequence[Work], run: Run, *, workers: int, advance: Advance, warn: Callable[[str], None]
) -> Iterator[Outcome]:
    """Yield each unit's outcome as it ends.

    With one worker, one unit or little to do, everything happens in this process.

    Args:
        work: In the order to begin them.
        run: Called with each unit, in another process if there are several.
        workers: Most processes.
        advance: Receives the number of bytes on disk as they are read.
        warn: Receives a line for the user when a worker process dies.
    """
    workers = min(workers, len(work))
    sizes = [sum(path.stat().st_size for path in unit.paths) for unit, _ in work]
    if workers <= 1 or sum(sizes) < SPAWN_BYTES:
        for unit, known in work:
            yield run(unit, known, advance)
        return
    tasks = [
        UnitTask(number=number, unit=unit, known=known, size=size)
        for number, ((unit, known), size) in enumerate(zip(work, sizes, strict=True))
    ]
    with closing(WorkerProcesses([partial(UnitWorker, run)] * workers)) as engine:
        at_once = SMALL_AT_ONCE if sum(sizes) < SMALL_BYTES * len(sizes) else 1
        scheduler = UnitScheduler(engine, tasks, advance, warn, at_once=at_once)
        for _, outcome in scheduler.outcomes(tasks, n_tasks=len(tasks)):
            yield outcome


@dataclass(frozen=True, kw_only=True)
class UnitTask:
    """A unit for a worker.

    Attributes:
        number: Its position in the work.
        known: The content it was already ingested with.
        size: Bytes on disk.
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
    """Hands units to worker processes.

    Args:
        engine: The processes.
        tasks: All units.
        advance: Receives the number of bytes on disk as they are read.
        warn: Receives a line for the user when a worker process dies.
        at_once: Most units that a worker is given at once.
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
        """Report bytes that were read; those that a second try reads again do not count."""
        size = min(event.size, self._unread[event.number])
        self._unread[event.number] -= size
        self._advance(size)

    def report_loss(self, event: Lost, tasks: Sequence[UnitTask]) -> None:
        """Say which files a worker had when it died."""
        files = ", ".join(task.name for task in tasks) or "no file"
        self._warn(f"worker process {event.worker} died ({event.why}) while it read {files}; another one is started")

    def given_up(self, task: UnitTask, why: str) -> Outcome:
        """Return the outcome of a file with which too many workers died."""
        error = f"{MAX_TRIES} worker processes died while they read this file, the last because {why}; "
        return Outcome(unit=task.unit, error=f"{error}run the same command again with fewer --workers")


class UnitWorker:
    """Ingests units one after the other, in a process of its own.

    Args:
        run: Called with each unit.
        advance: Reports bytes that were read.
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
        """Begin a unit."""
        return self._thread.submit(self._ingest, task)

    def stop(self) -> None:
        """Drop the running unit at its next read; its unfinished files are removed."""
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
