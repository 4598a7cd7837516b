"""Make the manifest of a night: settings, versions, machine and times. `report.json` has no times."""

import platform
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from specter_batch.model.bundle import ModelBundle
from specter_jobs.label.engines.scheduler import Scheduler
from specter_jobs.label.fresh import Fresh
from specter_jobs.output.names import LEDGER_FILE
from specter_jobs.output.report_model.manifest import BundleUsed, DeviceUsed, NightManifest, ThisRun
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.plan.config import NightConfig

# The packages that decide over labels and speed.
PACKAGES = (
    "specter-batch",
    "onnxruntime-gpu",
    "onnxruntime",
    "tokenizers",
    "nanotoken",
    "pyarrow",
    "duckdb",
    "numpy",
)


def night_manifest(
    config: NightConfig,
    bundle: ModelBundle,
    scheduler: Scheduler,
    report: NightReport,
    *,
    started: float,
    fresh: Fresh,
) -> NightManifest:
    """Return the manifest of a night.

    Args:
        config: Settings of the night.
        bundle: The bundle that labelled it.
        scheduler: Scheduler with the workers' device, provider and graph.
        report: Report of the night.
        started: Start of the run, in seconds since the epoch.
        fresh: Shards and papers that this run labelled.
    """
    finished = time.time()
    labelled = fresh.papers and fresh.seconds  # the clock may see no time in a night of a few papers
    at_work = fresh.model_seconds / (fresh.seconds * scheduler.n_workers) if labelled else None
    return NightManifest(
        started=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        finished=datetime.fromtimestamp(finished, UTC).isoformat(timespec="seconds"),
        seconds=round(finished - started, 3),
        host=socket.gethostname(),
        config=config.model_dump(mode="json"),
        bundle=BundleUsed(path=str(bundle.place), fingerprint=bundle.fingerprint, encoder=bundle.manifest.encoder),
        device=DeviceUsed(
            asked=config.device,
            engine=config.engine,
            workers=scheduler.n_workers,
            threads=scheduler.threads,
            max_batch_tokens=fresh.max_batch_tokens,
            **_common(scheduler.descriptions.values()),
        ),
        rows=report.rows,
        shards=report.shards,
        this_run=ThisRun(
            shards=fresh.shards,
            papers=fresh.papers,
            rewritten=fresh.rewritten,
            seconds=round(fresh.seconds, 3),
            papers_per_second=round(fresh.papers / fresh.seconds, 2) if labelled else None,
            model_wait_share=None if at_work is None else round(max(1 - at_work, 0.0), 4),
            audit_seconds=round(fresh.audit_seconds, 3),
        ),
        ledger=LEDGER_FILE,
        versions={"python": platform.python_version()} | _versions(PACKAGES),
    )


def _common(descriptions: Collection[Mapping[str, str]]) -> dict[str, str]:
    """Join the descriptions of the workers, which can only differ in the GPU."""
    names = {
        name: sorted({description[name] for description in descriptions}) for name in ("device", "provider", "graph")
    }
    return {name: ", ".join(values) for name, values in names.items()}


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except ModuleNotFoundError:
            continue
    return versions
