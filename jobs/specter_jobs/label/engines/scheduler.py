"""Distribute shards over the workers of an engine."""

import logging
from collections.abc import Sequence
from typing import Protocol

from specter_batch.errors import FingerprintError, ShardError
from specter_batch.graph_names import DeviceKind
from specter_batch.logs import log
from specter_jobs.label.engines.messages import SHARDS_AT_ONCE, ShardAnswer, ShardTask
from specter_jobs.workers import scheduler
from specter_jobs.workers.events import Lost


class Engine(scheduler.Engine[ShardTask, ShardAnswer | ShardError], Protocol):
    """Runs workers that label shards."""

    @property
    def threads(self) -> int:
        """Number of papers that each worker labels at once on a CPU."""

    @property
    def kind(self) -> DeviceKind:
        """Kind of device that the workers run on."""


class Scheduler(scheduler.Scheduler[ShardTask, ShardAnswer | ShardError]):
    """Gives shards to the workers of an engine."""

    fatal = (FingerprintError,)  # a run must never mix labels of two models
    cannot_start = "it cannot load the bundle"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, at_once=SHARDS_AT_ONCE)
        self.threads = engine.threads

    def report_loss(self, event: Lost, tasks: Sequence[ShardTask]) -> None:
        """Log the shards that a worker had when it died."""
        names = [task.name for task in tasks]
        log("worker lost", level=logging.WARNING, worker=event.worker, why=event.why, shards=names)

    def given_up(self, task: ShardTask, why: str) -> ShardError:
        """Return the error that names the shard."""
        tries = scheduler.MAX_TRIES
        return ShardError(f"{task.name}: {tries} workers died while they labelled it, the last one because {why}")
