"""A worker process per device, or several on one machine's CPU: one that dies takes no other with it."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from specter_batch.errors import ShardError, SpecterBatchError
from specter_jobs.label.engines.messages import Done, Event, Failed, Lost, Ready, ShardAnswer, ShardTask, WorkerJob
from specter_jobs.label.engines.worker import CollectedLogs, ShardWorker

# Spawned, not forked: the driver has threads and open duckdb tables, which a fork would copy half.
_CONTEXT = multiprocessing.get_context("spawn")


class ProcessEngine:
    """A process for each job, told of its shards through a pipe.

    Args:
        jobs: Of the workers, in their order.
    """

    def __init__(self, jobs: Sequence[WorkerJob]) -> None:
        self._jobs = jobs
        self.n_workers = len(jobs)
        self.threads = jobs[0].threads
        self.kind = jobs[0].device.kind
        self._processes: dict[int, tuple[SpawnProcess, Connection]] = {}

    def start(self, worker: int) -> None:
        """Start a process."""
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(
            target=_serve, args=(worker, self._jobs[worker], theirs), name=f"worker-{worker}", daemon=True
        )
        process.start()
        theirs.close()
        self._processes[worker] = process, ours

    def submit(self, worker: int, task: ShardTask) -> None:
        """Send a shard; of a process that died meanwhile `events` will tell."""
        with suppress(OSError):
            self._processes[worker][1].send(task)

    def events(self, *, wait: bool) -> Sequence[Event]:
        """Return what has happened."""
        return [self._receive(worker) for worker in self._heard(None if wait else 0)]

    def close(self) -> None:
        """Kill the processes: whatever they are at is dropped."""
        for process, connection in self._processes.values():
            process.kill()
            process.join()
            connection.close()
        self._processes.clear()

    def _heard(self, timeout: float | None) -> list[int]:
        connections = {connection: worker for worker, (_, connection) in self._processes.items()}
        return [connections[ready] for ready in wait(list(connections), timeout)]  # type: ignore[index]

    def _receive(self, worker: int) -> Event:
        process, connection = self._processes[worker]
        try:
            event: Event = connection.recv()
            return event
        except (EOFError, OSError):  # the pipe of a dead process reads as closed, after all that it said
            del self._processes[worker]
            connection.close()
            process.join()
            code = process.exitcode or 0
            by = f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"
            return Lost(worker=worker, why=by + (", perhaps for want of memory" if code == -signal.SIGKILL else ""))


def _serve(number: int, job: WorkerJob, connection: Connection) -> None:
    """Be a worker until the driver hangs up, or is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches us too; the driver ends us
    logs = CollectedLogs()
    try:
        worker = ShardWorker(job)
    except SpecterBatchError as error:
        connection.send(Failed(worker=number, error=error))
        return
    connection.send(Ready(worker=number, description=worker.describe()))

    def answer(task: ShardTask, done: "Future[ShardAnswer | ShardError]") -> None:
        try:
            connection.send(Done(worker=number, number=task.number, outcome=logs.put_on(done.result())))
        except BaseException:  # the driver would wait for ever; of a dead worker it knows what to do
            os._exit(1)

    while True:
        try:
            task: ShardTask = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # at once: a model at work would hold up the end for minutes
        worker.submit(task).add_done_callback(lambda done, task=task: answer(task, done))  # type: ignore[misc]
