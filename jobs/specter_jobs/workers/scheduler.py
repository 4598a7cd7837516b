"""Assign tasks to workers; the tasks of a dead worker are tried again, and a task that kills its workers fails."""

import math
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol

from specter_batch.errors import ProviderError, SpecterBatchError
from specter_jobs.workers.events import Done, Event, Failed, Lost, OutcomeT, Progress, Ready, Started, TaskIn, TaskT

# Number of workers that may die with a task before the task fails. Also the number of times in a row that a worker may
# die without a task before it is no longer started.
MAX_TRIES = 3


class Engine(Protocol[TaskIn, OutcomeT]):
    """Starts workers, numbered from 0, on some machine, and passes tasks to them."""

    @property
    def n_workers(self) -> int:
        """Number of workers."""

    def start(self, worker: int) -> None:
        """Start a worker, or restart a lost one. The result is reported as `Ready`, `Failed` or `Lost`.

        `Started` may come before it, if the worker can prepare tasks until it is ready.
        """

    def submit(self, worker: int, task: TaskIn) -> None:
        """Give a worker that is ready or has started a task; its outcome is reported as `Done`."""

    def events(self, *, wait: bool) -> Sequence[Event[OutcomeT]]:
        """Return the events since the last call; if there are none and `wait` is set, wait for one."""

    def close(self) -> None:
        """Stop all workers and abandon their tasks."""


class Scheduler(ABC, Generic[TaskT, OutcomeT]):
    """Distributes tasks to an engine's workers, in order, and yields their outcomes as they arrive.

    Each worker gets a few tasks at once, so that it never waits. It gets no more than its share of the tasks that are
    left, so that no worker is idle while another has tasks waiting. When a worker dies, any of its tasks may be the
    cause. Each of them is then run alone, so that only the task that kills its worker fails.

    Args:
        engine: Engine with the workers, which this class starts.
        at_once: Maximum number of tasks that a worker gets at once.
    """

    # Errors at the start of a worker that end the run, even if other workers could do its work.
    fatal: tuple[type[SpecterBatchError], ...] = ()
    # Beginning of the message for a worker that could not start; its error follows.
    cannot_start = "it cannot start"

    def __init__(self, engine: Engine[TaskT, OutcomeT], *, at_once: int) -> None:
        self._engine = engine
        self._at_once = at_once
        self.n_workers = engine.n_workers
        self._running: dict[int, dict[int, TaskT]] = {}  # by worker that takes tasks, then by task
        self._again: deque[TaskT] = deque()
        self._suspects: deque[TaskT] = deque()
        self._quarantine: int | None = None  # the worker that runs suspects, one by one
        self._fresh: Iterator[TaskT] = iter(())
        self._left = 0  # tasks without an outcome
        self._tries: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self.descriptions: dict[int, dict[str, str]] = {}
        self._ready_at: float | None = None
        for worker in range(engine.n_workers):
            engine.start(worker)

    @abstractmethod
    def report_loss(self, event: Lost, tasks: Sequence[TaskT]) -> None:
        """Report that a worker died while it had these tasks."""

    @abstractmethod
    def given_up(self, task: TaskT, why: str) -> OutcomeT:
        """Return the outcome of a task with which `MAX_TRIES` workers died.

        Args:
            task: Task that is not tried again.
            why: Clause that says how the last worker died, as in `Lost`.
        """

    def progress(self, event: Progress) -> None:
        """Handle a task's progress."""

    def finished(self, event: Done[OutcomeT]) -> None:
        """Handle a task's outcome."""

    def check(self) -> None:
        """Handle all events so far.

        Raises:
            SpecterBatchError: The first worker to report cannot start.
        """
        for event in self._engine.events(wait=False):
            self._note(event)

    def await_worker(self) -> None:
        """Wait until a worker takes tasks.

        Raises:
            SpecterBatchError: The workers cannot start.
        """
        while not self._running:
            for event in self._engine.events(wait=True):
                self._note(event)

    def await_ready(self) -> float:
        """Wait until a worker is ready, and return the time of `time.monotonic` at which it was.

        Raises:
            SpecterBatchError: The workers cannot start.
        """
        while self._ready_at is None:
            for event in self._engine.events(wait=True):
                self._note(event)
        return self._ready_at

    def again(self, task: TaskT) -> None:
        """Run a task once more, before the tasks that were not run yet."""
        self._again.append(task)
        self._left += 1

    def outcomes(self, tasks: Iterable[TaskT], *, n_tasks: int) -> Iterator[tuple[TaskT, OutcomeT]]:
        """Yield each of `n_tasks` tasks with its outcome; `again` may be called meanwhile.

        Raises:
            SpecterBatchError: A worker cannot start for one of the `fatal` reasons.
            ProviderError: Every worker process has died.
        """
        self._fresh, self._left = iter(tasks), n_tasks
        self._tries.clear()  # an earlier call may have had tasks with the same numbers
        while self._left:
            self._hand_out()
            for event in self._engine.events(wait=True):
                for task, outcome in self._note(event):
                    self._left -= 1
                    yield task, outcome

    def _hand_out(self) -> None:
        """Give tasks to the workers."""
        most = min(self._at_once, math.ceil(self._left / self.n_workers))
        if self._suspects and self._quarantine not in self._running:
            self._quarantine = min(self._running, key=lambda worker: len(self._running[worker]), default=None)
        for worker, running in self._running.items():
            if worker == self._quarantine:
                if running:
                    continue
                if self._suspects:
                    self._give(worker, self._suspects.popleft())
                    continue
                self._quarantine = None
            while len(running) < most and (task := self._next()) is not None:
                self._give(worker, task)

    def _next(self) -> TaskT | None:
        if self._again:
            return self._again.popleft()
        return next(self._fresh, None)

    def _give(self, worker: int, task: TaskT) -> None:
        self._running[worker][task.number] = task
        self._engine.submit(worker, task)

    def _note(self, event: Event[OutcomeT]) -> list[tuple[TaskT, OutcomeT]]:
        if isinstance(event, Progress):
            self.progress(event)
            return []
        if isinstance(event, Failed):
            if not self.descriptions or isinstance(event.error, self.fatal):
                raise event.error
            # Other workers may still start: perhaps the store cannot be reached, or GPU memory is not free yet.
            event = Lost(worker=event.worker, why=f"{self.cannot_start}: {event.error}")
        if isinstance(event, Lost):
            return self._lost(event)
        if isinstance(event, Started):
            self._running.setdefault(event.worker, {})
            return []
        if isinstance(event, Ready):
            self._running.setdefault(event.worker, {})
            self.descriptions[event.worker] = dict(event.description)
            self._ready_at = self._ready_at or time.monotonic()
            return []
        task = self._running[event.worker].pop(event.number)
        self._deaths[event.worker] = 0
        self.finished(event)
        return [(task, event.outcome)]

    def _lost(self, event: Lost) -> list[tuple[TaskT, OutcomeT]]:
        """Schedule a dead worker's tasks again, and start another worker in its place."""
        had = list(self._running.pop(event.worker, {}).values())
        self.report_loss(event, had)
        given_up: list[tuple[TaskT, OutcomeT]] = []
        for task in had:
            self._tries[task.number] += 1
            if self._tries[task.number] < MAX_TRIES:
                self._suspects.append(task)
            else:
                given_up.append((task, self.given_up(task, event.why)))
        if not had:
            self._deaths[event.worker] += 1
        if self._deaths[event.worker] < MAX_TRIES:
            self._engine.start(event.worker)
        elif all(self._deaths[worker] >= MAX_TRIES for worker in range(self._engine.n_workers)):
            raise ProviderError(
                f"every worker process has died, the last one because {event.why}; if memory ran out, use fewer "
                "--workers"
            )
        return given_up
