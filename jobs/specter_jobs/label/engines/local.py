"""The engine of one machine: a thread of this process for one device, a process each for several."""

from specter_batch.cpus import usable_cpus
from specter_batch.errors import ConfigError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import devices
from specter_jobs.label.engines.messages import WorkerJob
from specter_jobs.label.engines.processes import ProcessEngine
from specter_jobs.label.engines.thread import ThreadEngine
from specter_jobs.plan.config import NightConfig


def local_engine(config: NightConfig, bundle: ModelBundle) -> ThreadEngine | ProcessEngine:
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
