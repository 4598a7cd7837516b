"""An engine with one worker process per device, or several worker processes on the CPU."""

from collections.abc import Sequence
from functools import partial

from specter_jobs.label.engines.messages import WorkerJob, WorkerOutcome, WorkerTask
from specter_jobs.label.engines.worker import CollectedLogs, ShardWorker, opened_bundle
from specter_jobs.workers.processes import Advance, WorkerProcesses


class ProcessEngine(WorkerProcesses[WorkerTask, WorkerOutcome]):
    """Runs one process for each worker.

    Args:
        jobs: Jobs of the workers, in their order.
    """

    key_threads = None

    def __init__(self, jobs: Sequence[WorkerJob]) -> None:
        super().__init__([partial(ShardProcess, job, number) for number, job in enumerate(jobs)])
        self.threads = jobs[0].threads
        self.kind = jobs[0].device.kind


class ShardProcess(ShardWorker):
    """A `ShardWorker` in its own process.

    Args:
        job: Bundle, device and settings of the worker.
        number: Number of the worker.
        advance: Not used, because a shard is too small to report its progress.
    """

    def __init__(self, job: WorkerJob, number: int, advance: Advance) -> None:
        del advance
        super().__init__(job, opened_bundle(job), CollectedLogs(number))

    def stop(self) -> None:
        """Do nothing, because a worker writes no files and its process may end at once."""
