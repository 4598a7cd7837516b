"""Engines label shards in this process, in other processes of this machine, or on a Ray cluster.

All engines run the same `ShardWorker` and send its answers to the driver. Only the driver writes files.
"""

from specter_batch.cpus import usable_cpus
from specter_batch.errors import ConfigError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import devices
from specter_jobs.label.engines.messages import WorkerJob
from specter_jobs.label.engines.on_ray import RayEngine
from specter_jobs.label.engines.processes import ProcessEngine
from specter_jobs.label.engines.thread import ThreadEngine
from specter_jobs.plan.sections import Cluster, LabelRules, Model


def open_engine(
    cluster: Cluster, model: Model, rules: LabelRules, bundle: ModelBundle, *, audit: bool = False
) -> ThreadEngine | ProcessEngine | RayEngine:
    """Return the engine that the settings of a night choose.

    On one machine it has one worker for each card, or one on the CPU, unless `cluster.workers` is set. A single worker
    is a thread of this process. Several workers are processes. Those of the same card take turns on it: while one
    prepares papers, the card labels papers of another.

    Args:
        cluster: Settings of the worker processes.
        model: Settings of the bundle and the device.
        rules: Settings that decide which papers are labelled.
        bundle: The opened bundle.
        audit: Whether papers may be labelled by the fp32 graph too.

    Raises:
        ConfigError: The device or cluster does not exist, or the workers cannot be divided between the cards.
        ProviderError: The device cannot be used here.
    """
    if cluster.engine == "ray":
        return RayEngine(cluster, model, rules, bundle, audit=audit)
    if cluster.ray_address is not None:
        raise ConfigError("--ray-address needs --engine ray; add it, or leave --ray-address out")
    chosen = devices(model.device)
    wanted = cluster.workers or len(chosen)
    if wanted % len(chosen):
        more = len(chosen) * (wanted // len(chosen) + 1)
        raise ConfigError(
            f"--workers {wanted}: {len(chosen)} GPUs cannot have the same number of workers each; give --workers "
            f"{more}, or choose a GPU with --device cuda:N"
        )
    chosen *= wanted // len(chosen)
    threads = model.threads or max(usable_cpus() // len(chosen), 1)
    jobs = [
        WorkerJob(
            place=bundle.place,
            bundle=bundle,
            graph=model.graph,
            rules=rules,
            device=device,
            threads=threads,
            audit=audit,
            tokenizer=model.tokenizer,
        )
        for device in chosen
    ]
    return ThreadEngine(jobs[0]) if len(jobs) == 1 else ProcessEngine(jobs)
