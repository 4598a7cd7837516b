"""Workers on a Ray cluster: one actor per device, on any machine with free resources.

The engine uses Ray Core actors and not Ray Data. A shard is one task with its own ledger line. It is retried and fails
on its own. Ray Data retries blocks that it has cut, joined or split itself, and ends the run with the first block that
fails for good. The driver sends only a few shards at a time, so streaming data between operators does not help. An
actor keeps its session, which takes seconds to load.
"""

import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any

from specter_batch.cpus import usable_cpus
from specter_batch.errors import ConfigError, ProviderError, SpecterBatchError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_jobs.label.engines.messages import SHARDS_AT_ONCE, WorkerEvent, WorkerJob, WorkerOutcome, WorkerTask
from specter_jobs.label.engines.worker import CollectedLogs, ShardWorker, opened_bundle
from specter_jobs.plan.sections import Cluster, LabelRules, Model
from specter_jobs.workers.events import Done, Failed, Lost, Ready

# Object store memory of the embedded cluster, for shards in progress. An answer needs one or two megabytes.
OBJECT_STORE_BYTES = 256 * 1024**2
CONNECT_SECONDS = 10.0
# How often Ctrl-C and SIGTERM are checked while nothing happens, in seconds.
POLL_SECONDS = 1.0


class RayWorker:
    """The Ray actor: a `ShardWorker` in a process of the cluster."""

    def __init__(self) -> None:
        self._worker: ShardWorker | None = None

    def load(self, number: int, job: WorkerJob) -> Ready | Failed:
        """Open the bundle on this machine, and load its session."""
        try:
            self._worker = ShardWorker(job, opened_bundle(job), CollectedLogs(number))
            return Ready(worker=number, description=self._worker.describe())
        except SpecterBatchError as error:
            return Failed(worker=number, error=error)

    def work(self, number: int, task: WorkerTask) -> Done[WorkerOutcome]:
        """Read the keys of shards, or label a shard. Several calls run at the same time."""
        if self._worker is None:
            raise RuntimeError("the worker is not ready")
        return Done(worker=number, number=task.number, outcome=self._worker.submit(task).result())


class RayEngine:
    """Actors on a Ray cluster.

    Args:
        cluster: Settings of the cluster. Without `ray_address` a cluster on this machine is started, and ended with the
            night.
        model: Settings of the bundle and the device. Bundle and papers have the same path on every machine.
        rules: Settings that decide which papers are labelled.
        bundle: The opened bundle.
        audit: Whether papers may be labelled by the fp32 graph too.

    Raises:
        ConfigError: Ray is not installed, the cluster cannot be reached, or it does not have the resources of a worker.
    """

    key_threads = None

    def __init__(self, cluster: Cluster, model: Model, rules: LabelRules, bundle: ModelBundle, *, audit: bool) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ConfigError("--engine ray needs Ray: pip install 'specter-batch[ray]'") from error
        self._ray: Any = ray
        self._connect(cluster, model)
        try:
            device, self.threads, self.n_workers = self._room(cluster, model)
        except BaseException:
            ray.shutdown()
            raise
        self.kind = device.kind
        self._job = WorkerJob(
            place=bundle.place,
            bundle=bundle,
            graph=model.graph,
            rules=rules,
            device=device,
            threads=self.threads,
            audit=audit,
            tokenizer=model.tokenizer,
        )
        cuda = device.kind == "cuda"
        self._actor: Any = ray.remote(RayWorker).options(
            num_cpus=1 if cuda else self.threads,
            num_gpus=1 if cuda else 0,
            max_concurrency=SHARDS_AT_ONCE,
            max_restarts=0,  # the scheduler restarts workers, so that it knows which shards were lost
        )
        self._actors: dict[int, Any] = {}
        self._awaited: dict[Any, int] = {}

    def start(self, worker: int) -> None:
        """Start an actor on the cluster."""
        actor = self._actor.remote()
        self._actors[worker] = actor
        self._awaited[actor.load.remote(worker, self._job)] = worker

    def submit(self, worker: int, task: WorkerTask) -> None:
        """Send a task to an actor."""
        self._awaited[self._actors[worker].work.remote(worker, task)] = worker

    def events(self, *, wait: bool) -> Sequence[WorkerEvent]:
        """Return the events since the last call. If there are none and `wait` is true, wait for one."""
        while self._awaited:
            ready, _ = self._ray.wait(list(self._awaited), timeout=POLL_SECONDS if wait else 0)
            if ready:
                return [self._receive(ready[0])]
            if not wait:
                break
        return []

    def close(self) -> None:
        """End the actors. If this engine started the cluster, end the cluster too."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._ray.shutdown()

    def _receive(self, reference: Any) -> WorkerEvent:
        worker = self._awaited.pop(reference)
        try:
            event: WorkerEvent = self._ray.get(reference)
            return event
        except self._ray.exceptions.RayError as error:
            # If an actor dies, each of its calls gives an error. Only the first one is reported.
            self._awaited = {awaited: owner for awaited, owner in self._awaited.items() if owner != worker}
            self._ray.kill(self._actors.pop(worker))
            return Lost(worker=worker, why=" ".join(str(error).split())[:300])

    def _connect(self, cluster: Cluster, model: Model) -> None:
        cores = max((cluster.workers or 1) * (model.threads or 1), usable_cpus())
        if cluster.ray_address:
            _check_address(cluster.ray_address)
        handler = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(
                address=cluster.ray_address or "local",
                # A running cluster has its own settings.
                num_cpus=None if cluster.ray_address else cores,
                object_store_memory=None if cluster.ray_address else OBJECT_STORE_BYTES,
                log_to_driver=False,  # log lines come with the answers
                logging_level="error",
                include_dashboard=None if cluster.ray_address else False,
            )
        except Exception as error:  # Ray raises a plain Exception if the machine is too slow
            where = cluster.ray_address or "on this machine"
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ConfigError(_no_cluster(where, first)) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own handler ends the process without a message

    def _room(self, cluster: Cluster, model: Model) -> tuple[Device, int, int]:
        """Return device, threads and number of the workers, from the settings or the resources of the cluster."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        cards = int(sum(node.get("GPU", 0) for node in nodes))
        if model.device.startswith("cuda") or (model.device == "auto" and cards):
            if model.device not in ("auto", "cuda", "cuda:all"):
                raise ConfigError(f"--device {model.device}: Ray chooses the GPU of each worker; give --device cuda")
            if not cards:
                raise ProviderError(
                    f"--device {model.device}: no machine of the Ray cluster has a GPU; `ray status` lists what it has"
                )
            if (cluster.workers or 1) > cards:
                raise ConfigError(
                    f"--workers {cluster.workers}: the Ray cluster has {cards} GPUs, one for each worker; "
                    f"give --workers {cards}"
                )
            return Device(kind="cuda"), 1, cluster.workers or cards
        Device.parse(model.device)  # for its error
        cores = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
        threads = model.threads or max(min(cores, default=1) // (1 if cluster.ray_address else cluster.workers or 1), 1)
        room = sum(core // threads for core in cores)
        if not room:
            raise ConfigError(
                f"--threads {threads}: no machine of the Ray cluster has so many cores; give a smaller --threads"
            )
        if (cluster.workers or 1) > room:
            raise ConfigError(
                f"--workers {cluster.workers}: the Ray cluster has cores for {room} workers with {threads} threads; "
                f"give --workers {room}, or fewer --threads"
            )
        return Device(kind="cpu"), threads, cluster.workers or room


def _check_address(address: str) -> None:
    """Try to connect to `host:port` for a moment. Ray itself would try for minutes and then end the process."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return  # "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ConfigError(_no_cluster(address, str(error))) from error


def _no_cluster(where: str, why: str) -> str:
    return f"no Ray cluster {where}: {why}; see ray status, or leave --ray-address out"
