"""Where shards are labelled: in this process, in processes of this machine, or on a Ray cluster.

All engines run the same `ShardWorker` and send its answers to the driver, which alone writes and commits.
"""

from specter_batch.cpus import usable_cpus
from specter_batch.errors import ConfigError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import devices
from specter_jobs.label.engines.messages import WorkerJob
from specter_jobs.label.engines.on_ray import RayEngine
from specter_jobs.label.engines.processes import ProcessEngine
from specter_jobs.label.engines.thread import ThreadEngine
from specter_jobs.plan.config import NightConfig


def open_engine(config: NightConfig, bundle: ModelBundle) -> ThreadEngine | ProcessEngine | RayEngine:
    """Return the engine that a night asks for.

    Raises:
        ConfigError: There is no such device or cluster.
        ProviderError: It cannot be used here.
    """
    return RayEngine(config, bundle) if config.engine == "ray" else _local_engine(config, bundle)


def _local_engine(config: NightConfig, bundle: ModelBundle) -> ThreadEngine | ProcessEngine:
    """Return the engine for a night's devices: one worker a card, or `config.workers` on the CPU.

    Raises:
        ConfigError: The device is unknown.
        ProviderError: It cannot be used here.
    """
    if config.ray_address is not None:
        raise ConfigError("--ray-address: is for --engine ray")
    found = devices(config.device)
    if found[0].kind == "cpu":
        found *= config.workers or 1
    threads = config.threads or max(usable_cpus() // len(found), 1)
    jobs = [WorkerJob(config=config, bundle=bundle, device=device, threads=threads) for device in found]
    return ThreadEngine(jobs[0]) if len(jobs) == 1 else ProcessEngine(jobs)
