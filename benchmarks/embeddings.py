"""Compare `specter-batch classify` with and without `--embeddings`, in turn, on the same papers.

Usage: python benchmarks/embeddings.py BUNDLE PAPERS WORK [--papers N] [--rounds N] [--device NAME]

The figures are papers per second of the labelling, CPU time of the whole command, the bytes that a paper's row takes in
the label files, and the median over the rounds of the CPU time with vectors divided by that without. On a machine that
others use, CPU time is steadier than wall-clock time.
"""

import argparse
from pathlib import Path

import numpy as np
from measuring.bench_papers import read_usable
from measuring.machine import hardware, load, machine
from measuring.nights import Night, run_night

WAYS = {"without": (), "with": ("--embeddings",)}


def row_bytes(night: Night) -> float:
    """Return the bytes of the label files for each paper."""
    files = list((night.out / "labels").glob("*.parquet"))
    return sum(file.stat().st_size for file in files) / night.manifest.this_run.papers


def main() -> None:
    """Label the papers in turn with and without vectors, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("papers")
    parser.add_argument("work", type=Path)
    parser.add_argument("--papers", dest="number", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    papers = read_usable(given.papers, most=given.number)
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    busy: dict[str, list[float]] = {way: [] for way in WAYS}
    sizes: dict[str, float] = {}
    for number in range(given.rounds):
        for way in (list(WAYS), list(WAYS)[::-1])[number % 2]:  # neither is always the first of its round
            night = run_night(papers, given.work / way, bundle=given.bundle, device=given.device, options=WAYS[way])
            speeds[way].append(len(papers) / night.labelling_seconds)
            busy[way].append(night.process.cpu_seconds)
            sizes[way] = row_bytes(night)
    ratios = np.array(busy["with"]) / np.array(busy["without"])
    print(f"{hardware(machine(given.device))}, load {load()}\n")
    print("| vectors | papers/s | CPU seconds | bytes a paper |\n|---|---:|---:|---:|")
    for way in WAYS:
        print(f"| {way} | {np.median(speeds[way]):.1f} | {np.median(busy[way]):.2f} | {sizes[way]:,.0f} |")
    print(
        f"\nCPU time with vectors / without: {np.median(ratios):.3f} (median of {given.rounds} rounds; "
        f"{ratios.min():.3f} to {ratios.max():.3f})"
    )


if __name__ == "__main__":
    main()
