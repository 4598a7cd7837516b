"""Worker processes on this machine, each connected by a pipe, so that a dying process does not affect the others."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, Protocol

from specter_batch.errors import SpecterBatchError
from specter_batch.start import keep_pandas_out, run_alone
from specter_batch.terminal import output_only_for_results
from specter_jobs.workers.events import Done, Event, Failed, Lost, OutcomeT, Progress, Ready, TaskIn, TaskT

# Processes are spawned, not forked: the driver has threads and open duckdb tables, which a fork copies incompletely.
_CONTEXT = multiprocessing.get_context("spawn")
# Seconds that a stopping worker has to remove its unfinished files before it is killed.
STOP_SECONDS = 10.0

# Reports the number of bytes read from a task's input, given the task's number.
Advance = Callable[[int, int], None]


class Worker(Protocol[TaskIn, OutcomeT]):
    """The work of a worker process."""

    def describe(self) -> Mapping[str, str]:
        """Return what the worker runs on. Raises `SpecterBatchError` if it cannot run here."""

    def submit(self, task: TaskIn) -> "Future[OutcomeT]":
        """Start a task; if the task fails, the error is part of its outcome."""

    def stop(self) -> None:
        """Abandon the running tasks and remove their unfinished files; the process ends afterwards."""


# Makes the worker in its process. Raises `SpecterBatchError` if it cannot run here.
MakeWorker = Callable[[Advance], Worker[TaskT, OutcomeT]]


class WorkerProcesses(Generic[TaskT, OutcomeT]):
    """The engine of a scheduler whose workers are processes.

    Args:
        makers: Functions that make the workers, one for each. A function is pickled and called in the worker's process.
    """

    def __init__(self, makers: Sequence[MakeWorker[TaskT, OutcomeT]]) -> None:
        self._makers = makers
        self.n_workers = len(makers)
        self._processes: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._busy: set[int] = set()  # processes that were given tasks, so that they may have unfinished files

    def start(self, worker: int) -> None:
        """Start a process."""
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(
            target=_serve, args=(worker, self._makers[worker], theirs), name=f"worker-{worker}", daemon=True
        )
        process.start()
        theirs.close()
        self._processes[worker] = process, ours

    def submit(self, worker: int, task: TaskT) -> None:
        """Send a task; if the process has died, `events` will report it."""
        self._busy.add(worker)
        with suppress(OSError):
            self._processes[worker][1].send(task)

    def events(self, *, wait: bool) -> Sequence[Event[OutcomeT]]:
        """Return the events since the last call; if there are none and `wait` is set, wait for one."""
        return [self._receive(worker) for worker in self._heard(None if wait else 0)]

    def close(self) -> None:
        """Stop the processes and abandon their tasks."""
        for worker, (process, connection) in self._processes.items():
            if worker not in self._busy:
                process.kill()
                continue
            with suppress(OSError):
                connection.send(None)
        end = time.monotonic() + STOP_SECONDS
        for process, connection in self._processes.values():
            process.join(max(end - time.monotonic(), 0))
            process.kill()
            process.join()
            connection.close()
        self._processes.clear()

    def _heard(self, timeout: float | None) -> list[int]:
        connections = {connection: worker for worker, (_, connection) in self._processes.items()}
        return [connections[ready] for ready in wait(list(connections), timeout)]  # type: ignore[index]

    def _receive(self, worker: int) -> Event[OutcomeT]:
        process, connection = self._processes[worker]
        try:
            event: Event[OutcomeT] = connection.recv()
            return event
        except (EOFError, OSError):  # the pipe of a dead process is closed once all its events are read
            del self._processes[worker]
            self._busy.discard(worker)
            connection.close()
            process.join()
            return Lost(worker=worker, why=_how_it_ended(process.exitcode))


def _how_it_ended(code: int | None) -> str:
    """Say how a process ended, given its exit code as `multiprocessing` states it."""
    if code is None:  # another part of this program has waited for the process
        return "how it ended is not known"
    if code >= 0:
        return f"it ended with exit code {code}"
    return f"it was killed by signal {-code}" + (", perhaps because memory ran out" if code == -signal.SIGKILL else "")


@output_only_for_results()
def _serve(number: int, make: MakeWorker[TaskT, OutcomeT], connection: Connection) -> None:
    """Run a worker until the driver stops it or dies.

    This thread only receives tasks, so that the driver never waits for a busy worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches us too; the driver stops us
    run_alone()
    keep_pandas_out()
    sending = threading.Lock()

    def report(event: Event[OutcomeT]) -> None:
        with sending:
            connection.send(event)

    def answer(task: TaskT, done: "Future[OutcomeT]") -> None:
        try:
            report(Done(worker=number, number=task.number, outcome=done.result()))
        except BaseException:  # exit, because the driver would wait forever; it can handle a dead worker
            os._exit(1)

    try:
        worker = make(lambda task, size: report(Progress(worker=number, number=task, size=size)))
        description = worker.describe()
    except SpecterBatchError as error:
        report(Failed(worker=number, error=error))
        return
    report(Ready(worker=number, description=description))
    while True:
        try:
            task: TaskT | None = connection.recv()
        except (EOFError, OSError):
            # Exit at once: a running model would delay the end for minutes, and the next run may already write to OUT.
            os._exit(0)
        if task is None:
            worker.stop()
            os._exit(0)
        worker.submit(task).add_done_callback(lambda done, task=task: answer(task, done))  # type: ignore[misc]
