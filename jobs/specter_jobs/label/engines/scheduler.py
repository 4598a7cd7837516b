"""Who labels which shard: a worker that dies costs a second try, a shard that kills its workers is given up."""

import logging
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from specter_batch.errors import FingerprintError, ProviderError, ShardError
from specter_batch.model.graph_names import DeviceKind
from specter_jobs.label.engines.messages import Done, Event, Failed, Lost, Ready, ShardAnswer, ShardTask
from specter_jobs.label.engines.worker import SHARDS_AT_ONCE
from specter_jobs.logs import log

# Workers that may die with a shard before it is given up, and deaths in a row without a shard before a worker is.
MAX_TRIES = 3


class Engine(Protocol):
    """Runs workers, numbered from 0, somewhere; an engine knows nothing of shards beyond passing them on."""

    @property
    def n_workers(self) -> int:
        """How many workers there are."""

    @property
    def threads(self) -> int:
        """Papers that each of them labels at once on a CPU."""

    @property
    def kind(self) -> DeviceKind:
        """What they run on."""

    def start(self, worker: int) -> None:
        """Begin to make a worker, in place of one that was lost; `Ready`, `Failed` or `Lost` will tell of it."""

    def submit(self, worker: int, task: ShardTask) -> None:
        """Give a ready worker a shard; `Done` will tell of it."""

    def events(self, *, wait: bool) -> Sequence[Event]:
        """Return what has happened; wait for it if told to and nothing has."""

    def close(self) -> None:
        """Stop all workers; what they are at is dropped."""


class Scheduler:
    """Hands shards to an engine's workers, in the plan's order, and gathers their answers as they come.

    Each worker has a few shards at once, so that it never waits, but no more than its share of those that are left: in
    a short night, or at the end of a long one, none holds what another could begin with. When a worker dies, all that
    it had may be the cause: each of them is then run by itself, so that only the one that kills its worker is blamed.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.n_workers, self.threads = engine.n_workers, engine.threads
        self._running: dict[int, dict[int, ShardTask]] = {}  # by ready worker, then by shard
        self._again: deque[ShardTask] = deque()
        self._suspects: deque[ShardTask] = deque()
        self._quarantine: int | None = None  # the worker that runs suspects, one by one
        self._fresh: Iterator[ShardTask] = iter(())
        self._left = 0  # shards without an outcome
        self._tries: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self.descriptions: dict[int, dict[str, str]] = {}
        for worker in range(engine.n_workers):
            engine.start(worker)

    def check(self) -> None:
        """Take note of what has happened so far.

        Raises:
            SpecterBatchError: The first worker to tell cannot run the bundle.
        """
        for event in self._engine.events(wait=False):
            self._note(event)

    def await_worker(self) -> None:
        """Wait until a worker is ready.

        Raises:
            SpecterBatchError: The workers cannot run the bundle.
        """
        while not self.descriptions:
            for event in self._engine.events(wait=True):
                self._note(event)

    def again(self, task: ShardTask) -> None:
        """Run a shard once more, before those that were not run yet."""
        self._again.append(task)
        self._left += 1

    def outcomes(
        self, tasks: Iterable[ShardTask], *, n_tasks: int
    ) -> Iterator[tuple[ShardTask, ShardAnswer | ShardError]]:
        """Yield each of `n_tasks` tasks with what became of it; `again` may be called meanwhile.

        Raises:
            FingerprintError: A worker found another bundle than the driver's.
            ProviderError: No worker stays alive.
        """
        self._fresh, self._left = iter(tasks), n_tasks
        while self._left:
            self._hand_out()
            for event in self._engine.events(wait=True):
                for task, outcome in self._note(event):
                    self._left -= 1
                    yield task, outcome

    def _hand_out(self) -> None:
        """Keep the ready workers busy."""
        most = min(SHARDS_AT_ONCE, math.ceil(self._left / self.n_workers))
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

    def _next(self) -> ShardTask | None:
        if self._again:
            return self._again.popleft()
        return next(self._fresh, None)

    def _give(self, worker: int, task: ShardTask) -> None:
        self._running[worker][task.number] = task
        self._engine.submit(worker, task)

    def _note(self, event: Event) -> list[tuple[ShardTask, ShardAnswer | ShardError]]:
        if isinstance(event, Failed):
            if not self.descriptions or isinstance(event.error, FingerprintError):
                raise event.error  # two models in one run would be worse than none
            # Others could: it may be the store that is away, or a card whose memory is not free yet.
            event = Lost(worker=event.worker, why=f"it cannot load the bundle: {event.error}")
        if isinstance(event, Lost):
            return self._lost(event)
        if isinstance(event, Ready):
            self._running[event.worker] = {}
            self.descriptions[event.worker] = dict(event.description)
            return []
        return self._done(event)

    def _done(self, event: Done) -> list[tuple[ShardTask, ShardAnswer | ShardError]]:
        task = self._running[event.worker].pop(event.number)
        self._deaths[event.worker] = 0
        if isinstance(event.outcome, ShardAnswer):
            for level, said, fields in event.outcome.logs:
                log(said, level=level, worker=event.worker, **fields)
        return [(task, event.outcome)]

    def _lost(self, event: Lost) -> list[tuple[ShardTask, ShardAnswer | ShardError]]:
        """Run elsewhere what a dead worker had, and put another worker in its place."""
        had = list(self._running.pop(event.worker, {}).values())
        names = [task.surveyed.shard.name for task in had]
        log("worker lost", level=logging.WARNING, worker=event.worker, why=event.why, shards=names)
        given_up: list[tuple[ShardTask, ShardAnswer | ShardError]] = []
        for task in had:
            self._tries[task.number] += 1
            if self._tries[task.number] < MAX_TRIES:
                self._suspects.append(task)
            else:
                name = task.surveyed.shard.name
                error = f"{name}: {MAX_TRIES} workers died with it, the last because {event.why}; given up"
                given_up.append((task, ShardError(error)))
        if not had:
            self._deaths[event.worker] += 1
        if self._deaths[event.worker] < MAX_TRIES:
            self._engine.start(event.worker)
        elif all(self._deaths[worker] >= MAX_TRIES for worker in range(self._engine.n_workers)):
            raise ProviderError(f"no worker stays alive, the last one because {event.why}; is there memory for them?")
        return given_up
