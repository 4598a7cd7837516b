"""An engine with one worker in this process. Papers need not be copied, and no worker process can die."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from specter_batch.errors import SpecterBatchError
from specter_jobs.label.engines.messages import WorkerEvent, WorkerJob, WorkerOutcome, WorkerTask
from specter_jobs.label.engines.worker import ShardWorker
from specter_jobs.screen.shard_reader import KEPT_BYTES, KeyThreads
from specter_jobs.workers.events import Done, Failed, Ready, Started


class ThreadEngine:
    """Runs a `ShardWorker` in this process, with the bundle that the driver has opened.

    The worker is made in the background. It prepares the first shards while its model is loaded.
    """

    n_workers = 1

    def __init__(self, job: WorkerJob) -> None:
        self._job = job
        self.threads = job.threads
        self.kind = job.device.kind
        self._worker: ShardWorker | None = None
        self._events: SimpleQueue[WorkerEvent | BaseException] = SimpleQueue()
        self._making = ThreadPoolExecutor(1, thread_name_prefix="load")
        # These threads need no bundle, so the worker is still loading while they read.
        self.key_threads = KeyThreads(job.rules, job.bundle.text_template, threads=job.threads, kept_bytes=KEPT_BYTES)

    def start(self, worker: int) -> None:
        """Start to make the worker and to load its model."""
        self._making.submit(self._make, worker)

    def submit(self, worker: int, task: WorkerTask) -> None:
        """Give the worker a task."""
        if self._worker is None:
            raise RuntimeError("the worker is not ready")

        def tell(done: "Future[WorkerOutcome]") -> None:
            # `close` cancels futures. They have exceptions if the model cannot be loaded, which `_report` tells.
            if not done.cancelled() and done.exception() is None:
                self._events.put(Done(worker=worker, number=task.number, outcome=done.result()))

        self._worker.submit(task).add_done_callback(tell)

    def events(self, *, wait: bool) -> Sequence[WorkerEvent]:
        """Return the events since the last call. If there are none and `wait` is true, wait for one."""
        events: list[WorkerEvent] = []
        while (wait and not events) or not self._events.empty():
            event = self._events.get()
            if isinstance(event, BaseException):
                raise event
            events.append(event)
        return events

    def close(self) -> None:
        """Stop within about a second."""
        self.key_threads.close()
        self._making.shutdown()
        if self._worker is not None:
            self._worker.close()

    def _make(self, worker: int) -> None:
        try:
            self._worker = ShardWorker(self._job, self._job.bundle)
        except SpecterBatchError as error:
            self._events.put(Failed(worker=worker, error=error))
        except BaseException as error:
            self._events.put(error)
        else:
            # Called by the thread that loads the model and then labels, so the verdict comes before the first label.
            self._worker.model.add_done_callback(lambda _: self._report(worker))
            self._events.put(Started(worker=worker))

    def _report(self, worker: int) -> None:
        """Report whether the model of the worker could be loaded."""
        assert self._worker is not None  # noqa: S101 - it loads the model
        try:
            self._events.put(Ready(worker=worker, description=self._worker.describe()))
        except SpecterBatchError as error:
            self._events.put(Failed(worker=worker, error=error))
        except BaseException as error:
            self._events.put(error)
