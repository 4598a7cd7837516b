"""Distribute shards over the workers of an engine."""

import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from specter_batch.errors import FingerprintError, ShardError
from specter_batch.graph_names import DeviceKind
from specter_batch.logs import log
from specter_jobs.label.engines.messages import SHARDS_AT_ONCE, WorkerOutcome, WorkerTask
from specter_jobs.plan.shard_keys import RunKeys, ShardKeys, ShardRun, shard_runs
from specter_jobs.plan.shards import Shard
from specter_jobs.screen.shard_reader import KeyThreads
from specter_jobs.workers import scheduler
from specter_jobs.workers.events import Lost


class Engine(scheduler.Engine[WorkerTask, WorkerOutcome], Protocol):
    """Runs workers that read the keys of shards and label shards."""

    @property
    def threads(self) -> int:
        """Number of papers that each worker labels at once on a CPU."""

    @property
    def kind(self) -> DeviceKind:
        """Kind of device that the workers run on."""

    @property
    def key_threads(self) -> KeyThreads | None:
        """The threads of this process that read the keys of shards; None if the workers read them."""


class Scheduler(scheduler.Scheduler[WorkerTask, WorkerOutcome]):
    """Gives shards to the workers of an engine."""

    fatal = (FingerprintError,)  # a run must never mix labels of two models
    cannot_start = "it cannot load the bundle"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, at_once=SHARDS_AT_ONCE)
        self.threads = engine.threads
        self._key_threads = engine.key_threads

    def keys(self, shards: Sequence[Shard]) -> Iterator[RunKeys]:
        """Return the keys of shards as they are read, several shards at the same time."""
        runs = shard_runs(shards)
        if self._key_threads is not None:
            # A bundle that cannot run is reported now, not after all papers are read.
            return self._key_threads.read(runs, check=self.check)
        return self._keys_from_workers(runs)

    def _keys_from_workers(self, runs: Sequence[ShardRun]) -> Iterator[RunKeys]:
        """Yield the keys that the workers read.

        A shard with which workers die is read again alone, and has an error if that kills its workers too.
        """
        for task, outcome in self.outcomes(runs, n_tasks=len(runs)):
            if isinstance(outcome, RunKeys):
                yield outcome
            elif isinstance(task, ShardRun) and len(task.shards) > 1:
                for single in task.single_shards():
                    self.again(single)
            elif isinstance(task, ShardRun):
                yield RunKeys(shards=(ShardKeys(number=task.first, error=str(outcome)),))

    def report_loss(self, event: Lost, tasks: Sequence[WorkerTask]) -> None:
        """Log the shards that a worker had when it died."""
        names = [shard.name for task in tasks for shard in (task.shards if isinstance(task, ShardRun) else (task,))]
        log("worker lost", level=logging.WARNING, worker=event.worker, why=event.why, shards=names)

    def given_up(self, task: WorkerTask, why: str) -> ShardError:
        """Return the error that names the shard."""
        tries = scheduler.MAX_TRIES
        work = "read" if isinstance(task, ShardRun) else "labelled"
        return ShardError(f"{task.name}: {tries} workers died while they {work} it, the last one because {why}")
