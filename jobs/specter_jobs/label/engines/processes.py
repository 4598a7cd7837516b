"""A worker process per device, or several on one machine's CPU."""

from collections.abc import Sequence
from functools import partial

from specter_batch.errors import ShardError
from specter_jobs.label.engines.messages import ShardAnswer, ShardTask, WorkerJob
from specter_jobs.label.engines.worker import CollectedLogs, ShardWorker
from specter_jobs.workers.processes import Advance, WorkerProcesses


class ProcessEngine(WorkerProcesses[ShardTask, ShardAnswer | ShardError]):
    """A process for each job.

    Args:
        jobs: Of the workers, in their order.
    """

    def __init__(self, jobs: Sequence[WorkerJob]) -> None:
        super().__init__([partial(ShardProcess, job, number) for number, job in enumerate(jobs)])
        self.threads = jobs[0].threads
        self.kind = jobs[0].device.kind


class ShardProcess(ShardWorker):
    """A `ShardWorker` in a process of its own.

    Args:
        job: What the worker is for.
        number: Number of the worker.
        advance: Not used: a shard is too small to report its progress.
    """

    def __init__(self, job: WorkerJob, number: int, advance: Advance) -> None:
        del advance
        super().__init__(job, CollectedLogs(number))

    def stop(self) -> None:
        """Do nothing: a worker writes no files, and the process may end at once."""
