"""Measure how fast the nightly job is if the model takes no time: the highest speed that a fast device can reach.

Usage: python benchmarks/ceiling.py DUMP [BUNDLE] [SHARD_ROWS]

The real job runs from parquet to parquet. Only the session is replaced by one that returns zeros. The tokenizer is the
bundle's own (default: `bundles/sample` of the demo; a bundle with SPECTER's vocabulary tokenizes more slowly). Papers
per second are computed for the whole night, including the deduplication. Stages overlap and share the cores, so their
times add up to more than the whole. On a busy machine, use the CPU seconds. The tokenizer's own threads are only in
their sum.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from specter_batch.cpus import usable_cpus
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.session import Logits
from specter_batch.model.tokens.encoding import TextEncoder, TokenIds, Tokenized
from specter_batch.papers.language import EnglishFilter
from specter_jobs.label import prepare
from specter_jobs.label.assemble import ShardPipeline
from specter_jobs.night.run import run_night
from specter_jobs.plan.config import NightConfig
from specter_jobs.screen import shard_reader
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.shard_reader import ShardReader

# Stages, and the functions whose calls are added up for each.
STAGES: dict[str, list[tuple[Any, str]]] = {
    "deduplicate": [(Deduplication, "__init__")],
    "read, in both passes": [(ShardReader, "read")],
    "hash, in both passes": [(shard_reader, "content_hash"), (prepare, "content_hash"), (shard_reader, "text_hashes")],
    "language": [(EnglishFilter, "language")],
    "screen, with read, hash and language": [(prepare.ShardPreparer, "screen")],
    "tokenize": [(TextEncoder, "tokenize")],
    "label": [(ShardPipeline, "_labelled")],
    "write": [(ShardPipeline, "_written")],
}


TOKENIZE = TextEncoder.tokenize


def zeros(classifier: OnnxClassifier, token_ids: Sequence[TokenIds]) -> Logits:
    """Return zeros `(n, n_labels)` in place of the session's logits."""
    return np.zeros((len(token_ids), classifier._n_labels), dtype=np.float32)


def remembered_texts() -> list[tuple[TextEncoder, Sequence[str]]]:
    """Return a list to which every call of the job's tokenizer is added."""
    given: list[tuple[TextEncoder, Sequence[str]]] = []
    timed = TextEncoder.tokenize

    def remembering(self: TextEncoder, texts: Sequence[str]) -> Tokenized:
        given.append((self, texts))
        return timed(self, texts)

    TextEncoder.tokenize = remembering  # type: ignore[method-assign]
    return given


def main(dump: str, bundle: str = "bundles/sample", shard_rows: str = "5000") -> None:
    """Run a night, and print papers per second and the time of each stage."""
    clocks = {stage: Clock() for stage in STAGES}
    for stage, calls in STAGES.items():
        for owner, name in calls:
            setattr(owner, name, clocks[stage].timing(getattr(owner, name)))
    texts = remembered_texts()
    OnnxClassifier.logits = zeros  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"dump": dump, "bundle": bundle, "device": "cpu", "shard_rows": int(shard_rows)}
        config = NightConfig.load(None, settings | {"out": Path(folder) / "night"})
        load, cpu, began = os.getloadavg()[0], time.process_time(), time.perf_counter()
        result = run_night(config, console=Console(file=StringIO()))
        whole, cpu = time.perf_counter() - began, time.process_time() - cpu
    if result.exit_code:
        sys.exit(f"the night failed: {result.report.failed_shards}")
    rows = result.report.rows.rows_in
    print(f"{rows:,} papers in {whole:.2f} s: {rows / whole:,.0f} papers/s on {usable_cpus()} cores")
    print(f"{cpu:.2f} CPU seconds: {rows / cpu:,.0f} papers per CPU second; load before the run {load:.1f}")
    began = time.perf_counter()
    for encoder, given in texts:
        TOKENIZE(encoder, given)
    print(f"the tokenizer alone, right after it: {rows / (time.perf_counter() - began):,.0f} papers/s\n")
    print("| stage | seconds | papers/s | CPU seconds of its thread |\n|---|---:|---:|---:|")
    for stage, clock in clocks.items():
        print(f"| {stage} | {clock.wall:.2f} | {rows / max(clock.wall, 1e-9):,.0f} | {clock.cpu:.2f} |")


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


if __name__ == "__main__":
    main(*sys.argv[1:])
