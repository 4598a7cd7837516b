"""An engine with one worker in this process. Papers need not be copied, and no worker process can die."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from specter_batch.errors import ShardError, SpecterBatchError
from specter_jobs.label.engines.messages import ShardAnswer, ShardEvent, ShardTask, WorkerJob
from specter_jobs.label.engines.worker import ShardWorker
from specter_jobs.workers.events import Done, Failed, Ready


class ThreadEngine:
    """Runs a `ShardWorker` in this process. The worker is loaded in the background."""

    n_workers = 1

    def __init__(self, job: WorkerJob) -> None:
        self._job = job
        self.threads = job.threads
        self.kind = job.device.kind
        self._worker: ShardWorker | None = None
        self._events: SimpleQueue[ShardEvent | BaseException] = SimpleQueue()
        self._making = ThreadPoolExecutor(1, thread_name_prefix="load")

    def start(self, worker: int) -> None:
        """Start to load the session."""
        self._making.submit(self._make, worker)

    def submit(self, worker: int, task: ShardTask) -> None:
        """Give the worker a shard."""
        if self._worker is None:
            raise RuntimeError("the worker is not ready")

        def tell(done: "Future[ShardAnswer | ShardError]") -> None:
            if not done.cancelled():  # `close` cancels futures
                self._events.put(Done(worker=worker, number=task.number, outcome=done.result()))

        self._worker.submit(task).add_done_callback(tell)

    def events(self, *, wait: bool) -> Sequence[ShardEvent]:
        """Return the events since the last call. If there are none and `wait` is true, wait for one."""
        events: list[ShardEvent] = []
        while (wait and not events) or not self._events.empty():
            event = self._events.get()
            if isinstance(event, BaseException):
                raise event
            events.append(event)
        return events

    def close(self) -> None:
        """Stop within about a second."""
        self._making.shutdown()
        if self._worker is not None:
            self._worker.close()

    def _make(self, worker: int) -> None:
        try:
            self._worker = ShardWorker(self._job)
            self._events.put(Ready(worker=worker, description=self._worker.describe()))
        except SpecterBatchError as error:
            self._events.put(Failed(worker=worker, error=error))
        except BaseException as error:
            self._events.put(error)
