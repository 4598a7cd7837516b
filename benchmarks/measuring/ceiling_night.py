"""One night of `ceiling.py`, in its own process: the real job with a model that returns zeros at once.

Usage: python benchmarks/measuring/ceiling_night.py OUT DUMP BUNDLE SHARD_ROWS WORKERS whole|stages

Prints JSON. It also runs in other checkouts, so it only uses names that all of them have. Worker processes import this
module as well, so that they have the same model.
"""

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from measuring.processes import MAXRSS_BYTES, own_peak_mb
from specter_batch.cpus import usable_cpus
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.ranking import Predictions
from specter_batch.model.session import Logits
from specter_batch.model.tokens.encoding import TextEncoder, TokenIds
from specter_batch.papers import language
from specter_jobs.label import prepare
from specter_jobs.label.assemble import ShardPipeline
from specter_jobs.label.engines import worker
from specter_jobs.night.run import run_night
from specter_jobs.plan.config import NightConfig
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.shard_reader import ShardReader


class ZeroClassifier:
    """Takes the place of `OnnxClassifier`: no graph is loaded, and all logits are zero."""

    max_batch_tokens = None

    def __init__(self, bundle: ModelBundle, *, device: Device, precision: Any = None, **others: Any) -> None:
        self.entry = bundle.graph_for(device.kind, precision)
        self._bundle = bundle
        self.device, self.threads = device, others.get("threads")

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return zeros `(n, n_labels)`."""
        return np.zeros((len(token_ids), len(self._bundle.labels)), dtype=np.float32)

    def predict(self, token_ids: Sequence[TokenIds], *, embeddings: bool = False) -> Predictions:
        """Return the predictions that follow from zeros."""
        del embeddings
        return Predictions.from_logits(self.logits(token_ids), temperature=self._bundle.logit_divisor)

    def describe(self) -> dict[str, str]:
        """Return what the night reports about its model."""
        return {"device": str(self.device), "provider": "zeros", "graph": self.entry.file}

    def exact(self) -> "ZeroClassifier":
        """Return the classifier of the audit."""
        return self

    def close(self) -> None:
        """Do nothing, because nothing runs."""


worker.OnnxClassifier = ZeroClassifier  # type: ignore[attr-defined]

# Stages, and the functions whose calls are added up for each.
STAGES: dict[str, list[tuple[Any, str]]] = {
    "deduplicate": [(Deduplication, "__init__")],
    "read": [(ShardReader, "read")],
    "language": [(prepare, "reject_foreign_languages")],
    "langdetect": [(language.EnglishFilter, "_detect")],
    "screen, with read and language": [(prepare.ShardPreparer, "screen")],
    "tokenize": [(TextEncoder, "tokenize" if hasattr(TextEncoder, "tokenize") else "encode")],
    "label": [(ShardPipeline, "_labelled")],
    "write": [(ShardPipeline, "_written")],
}


class Clock:
    """Adds up the time of calls: wall-clock time, and CPU time of their own threads."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self._lock = threading.Lock()

    def timing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function or method."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                with self._lock:
                    self.wall += time.perf_counter() - wall
                    self.cpu += time.thread_time() - cpu

        return timed


def main(out: str, dump: str, bundle: str, shard_rows: str, workers: str, what: str) -> None:
    """Run a night, and print its papers, seconds, CPU seconds, peak memory and stages."""
    clocks = {stage: Clock() for stage in STAGES if what == "stages"}
    for stage, clock in clocks.items():
        for owner, name in STAGES[stage]:
            setattr(owner, name, clock.timing(getattr(owner, name)))
    settings: dict[str, Any] = {"dump": dump, "bundle": bundle, "device": "cpu", "out": Path(out)}
    settings |= {"shard_rows": int(shard_rows), "workers": int(workers)}
    config = NightConfig.load(None, settings)
    load, cpu, began = os.getloadavg()[0], time.process_time(), time.perf_counter()
    result = run_night(config, console=Console(file=StringIO()))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if result.exit_code:
        sys.exit(f"the night failed: {result.report.failed_shards}")
    processes = resource.getrusage(resource.RUSAGE_CHILDREN)
    n_processes = int(workers) if int(workers) > 1 else 0
    found = {
        "papers": result.report.rows.rows_in,
        "seconds": seconds,
        "cpu_seconds": cpu + processes.ru_utime + processes.ru_stime,
        "peak_mb": own_peak_mb() + n_processes * processes.ru_maxrss * MAXRSS_BYTES / 1e6,
        "cores": usable_cpus(),
        "load": load,
        "stages": {stage: [clock.wall, clock.cpu] for stage, clock in clocks.items()},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
