"""Where shards are labelled: in this process, in processes of this machine, or on a Ray cluster.

All engines run the same `ShardWorker` and send its answers to the driver, which alone writes and commits.
"""

from specter_batch.model.bundle import ModelBundle
from specter_jobs.label.engines.local import local_engine
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
    return RayEngine(config, bundle) if config.engine == "ray" else local_engine(config, bundle)
