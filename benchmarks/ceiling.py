"""Measure how fast the nightly job is if the model takes no time: the highest speed that a fast device can reach.

Usage: python benchmarks/ceiling.py DUMP [BUNDLE] [--shard-rows N] [--workers N] [--rounds N] [--against PYTHON]

The real job runs from parquet to parquet. Only the model is replaced by one that returns zeros at once. The tokenizer
is the bundle's own (default: `bundles/sample` of the demo; a bundle with SPECTER's vocabulary tokenizes more slowly).
Papers per second are computed for the whole night, including the deduplication. Each night has its own process. Peak
memory is the memory of this process and, with several workers, of as many of the largest one.

With `--against`, nights of another checkout take turns with nights of this one. PYTHON is the interpreter of an
environment in which the other checkout is installed. The benchmark fails if their label files or rejects differ.

The last table is of one more night of this checkout. Stages overlap and share the cores, so their times add up to more
than the whole. On a busy machine, use the CPU seconds. The tokenizer's own threads are only in their sum, and
stages in other processes are left out.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from measuring.command_line import at_least, run_benchmark

HERE = Path(__file__).parent
FIGURES = {"papers/s": "papers_per_second", "CPU seconds": "cpu_seconds", "peak MB": "peak_mb"}


def run(python: str, arguments: argparse.Namespace, out: Path, *, what: str = "whole") -> dict[str, Any]:
    """Run one night in the environment of an interpreter, and return its figures."""
    options = [out, arguments.dump, arguments.bundle, arguments.shard_rows, arguments.workers, what]
    command = [python, str(HERE / "measuring/ceiling_night.py"), *map(str, options)]
    # Only the benchmarks of this checkout are added: the interpreter has its own specter-batch.
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(HERE)}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: a night of {python} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"papers_per_second": found["papers"] / found["seconds"]}


def files(out: Path) -> dict[str, str]:
    """Return the hashes of a night's label files and rejects, by name."""
    found = sorted(path for folder in ("labels", "rejects") for path in (out / folder).rglob("*.parquet"))
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def spread(values: Sequence[float]) -> str:
    """Return the median of some figures, and the smallest and the largest of several."""
    whole = f"{median(values):,.1f}"
    return whole if len(values) == 1 else f"{whole} ({min(values):,.1f}–{max(values):,.1f})"


def main(arguments: argparse.Namespace) -> None:
    """Run the nights, and print papers per second, memory and the time of each stage."""
    pythons = {"this checkout": sys.executable}
    if arguments.against is not None:
        pythons["the other"] = str(arguments.against)
    nights: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    written: dict[str, dict[str, str]] = {}
    with TemporaryDirectory() as scratch:
        for number in range(arguments.rounds):
            for name, python in list(pythons.items())[:: 1 if number % 2 else -1]:
                out = Path(scratch) / f"{name} {number}"
                nights[name].append(run(python, arguments, out))
                written[name] = files(out)
        in_detail = run(sys.executable, arguments, Path(scratch) / "stages", what="stages")
    ours = nights["this checkout"]
    print(f"{in_detail['papers']:,} papers on {in_detail['cores']} cores, {arguments.rounds} rounds")
    print(f"load before a night: {spread([night['load'] for night in ours])}\n")
    print(f"| night | {' | '.join(FIGURES)} |\n|---|---:|---:|---:|")
    for name, found in nights.items():
        print(f"| {name} | {' | '.join(spread([night[figure] for night in found]) for figure in FIGURES.values())} |")
    print("\n| stage | seconds | papers/s | CPU seconds of its thread |\n|---|---:|---:|---:|")
    timed = {stage: times for stage, times in in_detail["stages"].items() if times[0]}  # none in other processes
    for stage, (wall, cpu) in timed.items():
        print(f"| {stage} | {wall:.2f} | {in_detail['papers'] / wall:,.0f} | {cpu:.2f} |")
    if arguments.against is not None:
        speeds = [median(night["papers_per_second"] for night in found) for found in nights.values()]
        print(f"\nthis checkout is {speeds[0] / speeds[1]:.2f} times as fast as the other")
        if written["this checkout"] != written["the other"]:
            names = {*written["this checkout"], *written["the other"]}
            sys.exit(f"error: of {len(names)} label files and rejects, some differ; run both nights and compare them")
        print(f"{len(written['the other'])} label files and rejects are equal")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", metavar="DUMP", type=Path)
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, nargs="?", default=Path("bundles/sample"))
    parser.add_argument("--shard-rows", type=at_least(1), default=5000, help="papers of a shard")
    parser.add_argument("--workers", type=at_least(1), default=1, help="worker processes")
    parser.add_argument("--rounds", type=at_least(1), default=1, help="nights of each checkout")
    parser.add_argument("--against", metavar="PYTHON", type=Path, help="interpreter of another checkout's environment")
    run_benchmark(main, parser)
