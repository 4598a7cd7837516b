"""Measure what a night costs apart from its papers: up to 100,000 shards of one paper each, without a model.

Usage: python benchmarks/many_shards.py BUNDLE [WORK] [SHARDS ...]

A file has ten papers and a shard has one, so there are many files and shards and few papers. The default sizes are
1,000, 10,000 and 100,000 shards. Each size runs in its own process. The real job plans, deduplicates, labels and
reports. Only the session is replaced by one that returns zeros. Each size is run as a first night, run again with
nothing left to do, verified, and run as the next night with `--reuse`.

The table has wall-clock seconds, CPU seconds of all threads, and peak memory for each stage. The last column is the CPU
time per shard at the last size, divided by that at the size before. Above 1, the stage grows faster than the night.
"""

import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.session import Logits
from specter_batch.model.tokens.encoding import TokenIds
from specter_jobs.inspect.verify import verify_night
from specter_jobs.night import from_dump, labelling, planning, reporting
from specter_jobs.night import run as nightly
from specter_jobs.output.ledger import Ledger
from specter_jobs.plan.config import NightConfig
from specter_jobs.screen.deduplicate import Deduplication

FILE_ROWS = 10
# With fewer seconds than this, growth would be noise.
SECONDS_TOLD = 0.1
SIZES = ("1000", "10000", "100000")
ABSTRACT = "We studied the outcomes of patients in a large cohort and found that the treatment was safe in most."

# These stages run one after the other in the main thread, so time and memory can be measured for each.
STAGES: dict[str, list[tuple[Any, str]]] = {
    "find files, read footers, plan": [(from_dump, "parquet_inventory"), (from_dump, "plan_shards")],
    "plan.json": [(planning, "write_plan")],
    "open the ledger": [(Ledger, "__init__")],
    "earlier labels' files": [(labelling, "reusable_labels")],
    "deduplicate": [(Deduplication, "__init__")],
    "which shards are done": [(Ledger, "finished")],
    "label, without the model": [(labelling, "label_shards")],
    "remove unknown files": [(Ledger, "remove_strangers")],
    "report.json": [(reporting, "night_totals"), (reporting, "night_report")],
    "report.html": [(reporting, "night_html")],
}
# These stages run within others, so their memory is not measured separately.
WITHIN = {"which shards are done": "label, without the model"}


# Wall-clock seconds, CPU seconds, and MiB of a stage.
Figures = tuple[float, float, int]


class Stopwatch:
    """Adds up wall-clock and CPU seconds of stages, and keeps the peak memory of each in MiB."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.memory: dict[str, int] = defaultdict(int)

    def figures(self, stage: str) -> Figures:
        """Return the figures of a stage."""
        return self.wall[stage], self.cpu[stage], self.memory[stage]

    def timing(self, stage: str, call: Callable[..., Any], *, memory: bool = True) -> Callable[..., Any]:
        """Wrap a function or method."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if memory:
                Path("/proc/self/clear_refs").write_text("5")  # reset the peak memory
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.wall[stage] += time.perf_counter() - wall
                self.cpu[stage] += time.process_time() - cpu
                if memory:
                    self.memory[stage] = max(self.memory[stage], high_water())

        return timed


def high_water() -> int:
    """Return the peak resident memory since the last reset, in MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def write_dump(folder: Path, shards: int) -> None:
    """Write `shards` papers with different texts. A few papers of each file have no abstract."""
    folder.mkdir(parents=True)
    for start in range(0, shards, FILE_ROWS):
        numbers = range(start, min(start + FILE_ROWS, shards))
        table = pa.table(
            {
                "paper_id": [f"p{number}" for number in numbers],
                "title": [f"Outcomes of trial number {number}" for number in numbers],
                "abstract": [None if number % 10 == 9 else f"{ABSTRACT} {number}." for number in numbers],
            }
        )
        pq.write_table(table, folder / f"part-{start:08d}.parquet")


def zeros(classifier: OnnxClassifier, token_ids: Sequence[TokenIds]) -> Logits:
    """Return zeros `(n, n_labels)` in place of the session's logits."""
    return np.zeros((len(token_ids), classifier._n_labels), dtype=np.float32)


def measure(bundle: str, work: Path, shards: int) -> dict[str, Any]:
    """Run the nights of one size. Return the figures of each stage by name, and the sizes of files in MB."""
    write_dump(work / "papers", shards)
    OnnxClassifier.logits = zeros  # type: ignore[method-assign, assignment]
    originals = {stage: [getattr(owner, name) for owner, name in calls] for stage, calls in STAGES.items()}
    common = {"dump": str(work / "papers"), "bundle": bundle, "device": "cpu", "shard_rows": 1, "audit_share": 0}
    nights: dict[str, dict[str, Any]] = {
        "first night": {"out": work / "first"},
        "run again": {"out": work / "first"},
        "next night, reuse": {"out": work / "next", "reuse": (work / "first",)},
    }
    found: dict[str, Figures] = {}
    for night, settings in nights.items():
        watch = Stopwatch()
        for stage, calls in STAGES.items():
            for (owner, name), call in zip(calls, originals[stage], strict=True):
                setattr(owner, name, watch.timing(stage, call, memory=stage not in WITHIN))
        config = NightConfig.load(None, common | settings)
        result = watch.timing("**whole**", nightly.run_night, memory=False)(config, console=Console(file=StringIO()))
        if result.exit_code or result.report.shards.finished != shards:
            sys.exit(f"the night failed: {result.report.shards}, {result.report.failed_shards}")
        for inner, outer in WITHIN.items():
            watch.wall[outer] -= watch.wall[inner]
            watch.cpu[outer] -= watch.cpu[inner]
        watch.memory["**whole**"] = max(watch.memory.values())
        found |= {f"{night}: {stage}": watch.figures(stage) for stage in [*STAGES, "**whole**"]}
        print(json.dumps({night: [watch.figures(stage) for stage in [*STAGES, "**whole**"]]}), file=sys.stderr)
        if night == "run again":
            verified = watch.timing("verify", verify_night)(work / "first")
            if verified.differences:
                sys.exit(f"verify found differences: {verified.differences[:3]}")
            found["verify"] = watch.figures("verify")
    sizes = {
        name: (work / "first" / name).stat().st_size / 1e6 for name in ("ledger.jsonl", "plan.json", "report.html")
    }
    return {"stages": found, "megabytes": sizes}


def table(found: dict[int, dict[str, Any]]) -> str:
    """Return a table of all sizes, with the growth per shard between the last two sizes."""
    sizes = list(found)
    head = ["stage: seconds, CPU seconds, MiB", *(f"{size:,} shards" for size in sizes), "growth per shard"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for stage, (_, last, _) in found[sizes[-1]]["stages"].items():
        figures = [found[size]["stages"][stage] for size in sizes]
        before = figures[-2][1] if len(sizes) > 1 else 0.0
        growth = f"{last / before / (sizes[-1] / sizes[-2]):.2f}" if before > SECONDS_TOLD else ""
        cells = [f"{wall:.2f} {cpu:.2f}" + (f" {memory:,}" if memory else "") for wall, cpu, memory in figures]
        rows.append([stage, *cells, growth])
    rows += [
        [f"{name}, MB", *(f"{found[size]['megabytes'][name]:.2f}" for size in sizes), ""]
        for name in found[sizes[-1]]["megabytes"]
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(bundle: str, work: str = "many-shards", *sizes: str) -> None:
    """Measure each size in its own process, and print the table."""
    found: dict[int, dict[str, Any]] = {}
    for size in sizes or SIZES:
        folder = Path(work) / size
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, __file__, "--one", bundle, str(folder), size]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if answer.returncode:
            sys.exit(answer.returncode)
        found[int(size)] = json.loads(answer.stdout)
        shutil.rmtree(folder)
        print(f"{size} shards measured", file=sys.stderr)
    print(table(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main(*sys.argv[1:])
