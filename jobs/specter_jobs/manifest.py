"""The manifest: what ran, on what, for how long. All that clocks and machines decide stands here."""

import platform
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from specter_batch.bundle import ModelBundle
from specter_batch.runtime import OnnxClassifier
from specter_jobs.config import NightConfig
from specter_jobs.ledger import LEDGER_FILE


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """What this run labelled itself, as against what it found done.

    Attributes:
        seconds: Of labelling, the survey left out.
        model_seconds: Of these, those in which the model was at work.
    """

    shards: int
    papers: int
    seconds: float
    model_seconds: float

    @property
    def model_wait_share(self) -> float | None:
        """Share of the time in which the model had nothing to do; None when it was not asked at all."""
        return max(1 - self.model_seconds / self.seconds, 0.0) if self.papers else None


def night_manifest(
    config: NightConfig,
    bundle: ModelBundle,
    classifier: OnnxClassifier,
    report: dict[str, Any],
    *,
    started: float,
    fresh: Fresh,
) -> dict[str, Any]:
    """Return the fields of `manifest.json`.

    Args:
        config: Of the night.
        bundle: That labelled it.
        classifier: Its session: the device, provider and graph really used.
        report: `report.json`.
        started: Seconds since the epoch.
        fresh: What this run labelled.
    """
    finished = time.time()
    packages = ("specter-batch", "onnxruntime-gpu", "onnxruntime", "tokenizers", "pyarrow", "duckdb", "numpy")
    return {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "finished": datetime.fromtimestamp(finished, UTC).isoformat(timespec="seconds"),
        "seconds": round(finished - started, 3),
        "host": socket.gethostname(),
        "config": config.model_dump(mode="json"),
        "bundle": {"path": str(config.bundle), "fingerprint": bundle.fingerprint, "encoder": bundle.manifest.encoder},
        "device": {
            "asked": config.device,
            "workers": classifier.workers,
            "max_batch_tokens": classifier.max_batch_tokens,  # CUDA only; less than at the start where memory was short
            **classifier.describe(),
        },
        "rows": report["rows"],
        "shards": report["shards"],
        "this_run": {
            "shards": fresh.shards,
            "papers": fresh.papers,
            "seconds": round(fresh.seconds, 3),
            "papers_per_second": round(fresh.papers / fresh.seconds, 2) if fresh.papers else None,
            "model_wait_share": None if fresh.model_wait_share is None else round(fresh.model_wait_share, 4),
        },
        "ledger": LEDGER_FILE,
        "versions": {"python": platform.python_version()} | _versions(packages),
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:
            continue
    return found
