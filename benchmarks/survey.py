"""Measure the survey of a night: reading all papers, and deciding which are duplicates, for several numbers of workers.

Usage: python benchmarks/survey.py DUMP BUNDLE WORK [--copies N] [--rounds N] [--other CHECKOUT]

DUMP is copied N times, each time with other ids and titles, into files of 5,000 papers in WORK. Every round measures,
one after another: one worker with one thread, one worker with two threads, and two workers with one thread each. With
`--other`, it also measures another checkout of this project, with its own environment in `.venv`. The clock starts
when all workers are ready. The table has the median and the range of papers per second, the CPU time of all processes,
and the largest peak memory of the driver and of a worker in MiB. The decisions of all runs have to be the same.
"""

import argparse
import hashlib
import inspect
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specter_batch.inputs import parquet_inventory
from specter_batch.model.bundle import ModelBundle
from specter_batch.papers.columns import PaperColumns
from specter_jobs.label.engines import open_engine
from specter_jobs.label.engines.scheduler import Scheduler
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.planning import plan_shards
from specter_jobs.plan.sections import Cluster, LabelRules, Model
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.known_labels import KnownLabels

FILE_ROWS = 5000
# Workers, and threads of each.
SHAPES = ((1, 1), (1, 2), (2, 1))


def write_copies(dump: Path, folder: Path, copies: int) -> None:
    """Write copies of the papers of a dump with ids and titles of their own."""
    folder.mkdir(parents=True)
    for file in sorted(dump.rglob("*.parquet")):
        table = pq.read_table(file, partitioning=None)
        names = PaperColumns().resolve(table.schema, where=file.name)
        columns = {name: table[names[name]].cast(pa.string()) for name in ("paper_id", "title", "abstract")}
        for copy in range(copies):
            ids = pc.binary_join_element_wise(columns["paper_id"], str(copy), "-")
            titles = pc.binary_join_element_wise(columns["title"], str(copy), " ")
            varied = pa.table({"paper_id": ids, "title": titles, "abstract": columns["abstract"]})
            for start in range(0, len(varied), FILE_ROWS):
                part = varied.slice(start, FILE_ROWS)
                pq.write_table(part, folder / f"{copy:04d}-{file.stem}-{start:08d}.parquet", compression="zstd")


def measure(folder: str, bundle_path: str, workers: int, threads: int) -> dict[str, Any]:
    """Survey the papers once with this checkout, and return the figures."""
    settings = {"dump": folder, "out": folder, "bundle": bundle_path, "device": "cpu"}
    config = NightConfig.load(None, settings | {"workers": workers, "threads": threads})
    bundle, rules = ModelBundle.open(config.bundle), config.section(LabelRules)
    plan = plan_shards(parquet_inventory(Path(folder)), columns=PaperColumns(), shard_rows=FILE_ROWS)
    known = KnownLabels(files=[], n_labels=len(bundle.labels))
    with (
        tempfile.TemporaryDirectory() as scratch,
        closing(open_engine(config.section(Cluster), config.section(Model), rules, bundle)) as engine,
    ):
        scheduler = Scheduler(engine)
        while len(scheduler.descriptions) < workers:
            scheduler.check()
            time.sleep(0.01)
        common = {"known_labels": known, "scratch": Path(scratch), "advance": lambda _: None}
        cpu, began = cpu_seconds(), time.perf_counter()
        deduplication: Any = Deduplication
        if "rules" in inspect.signature(Deduplication).parameters:  # a checkout whose driver read all papers itself
            decided = deduplication(plan.shards, rules, template=bundle.text_template, **common)
        else:
            decided = deduplication(plan.shards, scheduler.keys(plan.shards), **common)
        seconds, used = time.perf_counter() - began, cpu_seconds() - cpu
        digest = hashlib.sha256("".join(shard.content for shard in decided.shards).encode()).hexdigest()
        peaks = [peak_memory(process) for process in ("self", *children())]
        decided.close()
    return {
        "papers": plan.rows,
        "seconds": seconds,
        "cpu": used,
        "digest": digest,
        "driver": peaks[0],
        "worker": max(peaks[1:], default=0),
    }


def children() -> list[str]:
    """Return the process ids of the workers."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its workers so far (Linux)."""
    ticks = sum(
        sum(map(int, Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[11:13])) for child in children()
    )
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def peak_memory(process: str) -> int:
    """Return the peak resident memory of a process in MiB (Linux)."""
    return int(Path(f"/proc/{process}/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024


def main() -> None:
    """Measure all shapes in turn, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dump", type=Path)
    parser.add_argument("bundle")
    parser.add_argument("work", type=Path)
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", type=Path)
    options = parser.parse_args()
    folder = options.work / f"survey-{options.copies}"
    if not folder.exists():
        write_copies(options.dump, folder, options.copies)
    checkouts = {"this checkout": sys.executable}
    if options.other is not None:
        checkouts["the other checkout"] = str(options.other / ".venv/bin/python")
    found: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    print(f"load {os.getloadavg()[0]:.1f} before the first run", file=sys.stderr)
    for _ in range(options.rounds):
        for workers, threads in SHAPES:
            for name, python in checkouts.items():
                command = [python, __file__, "--one", str(folder), options.bundle, str(workers), str(threads)]
                answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                found.setdefault((name, workers, threads), []).append(answer)
    print(f"load {os.getloadavg()[0]:.1f} after the last run", file=sys.stderr)
    print("| checkout | workers | threads of each | papers/s | range | CPU µs per paper | driver MiB | worker MiB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for (name, workers, threads), runs in found.items():
        speeds = sorted(run["papers"] / run["seconds"] for run in runs)
        cpu = statistics.median(run["cpu"] / run["papers"] * 1e6 for run in runs)
        cells = (name, str(workers), str(threads), f"{statistics.median(speeds):,.0f}")
        cells += (
            f"{speeds[0]:,.0f}–{speeds[-1]:,.0f}",
            f"{cpu:.1f}",
            *(f"{max(run[one] for run in runs):,}" for one in ("driver", "worker")),
        )
        print(f"| {' | '.join(cells)} |")
    digests = {run["digest"] for runs in found.values() for run in runs}
    same = "the same" if len(digests) == 1 else "DIFFERENT"
    print(f"{next(iter(found.values()))[0]['papers']:,} papers; the decisions of all runs are {same}")
    if len(digests) > 1:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(*sys.argv[2:4], *map(int, sys.argv[4:6]))))
    else:
        main()
