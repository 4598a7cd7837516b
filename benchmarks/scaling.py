"""Measure how time and peak memory of a night depend on papers, threads, workers and the share of changed papers.

Usage: python benchmarks/scaling.py BUNDLE PAPERS OUT [--papers N] [--rounds N] [--device cpu|cuda]

The script runs `specter-batch classify` from parquet to parquet:

* N, 4 N and 16 N papers in shards of N,
* 4 N papers with one thread, with two threads, and with two workers of one thread each,
* 4 N papers of which 0, 1, 10 and 100 % changed since a night that is given with `--reuse`.

PAPERS are real papers. The first N are used as they are. All others are made from them by moving words of their
abstracts. Writes `scaling.json`, `scaling.md` and `scaling.svg` to OUT.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from contest.targets import spread
from measuring.bench_pages import ranged, write_found
from measuring.bench_papers import edited, read_usable
from measuring.command_line import at_least, run_benchmark
from measuring.machine import hardware, load, machine
from measuring.nights import Night, run_night
from measuring.pictures import Bar, bars, curve, svg_file

SIZES = (1, 4, 16)
# The size of the nights that differ in threads, workers and changed papers.
MIDDLE = 4
AT_ONCE = {
    "threads 1": ("--threads", "1"),
    "threads 2": ("--threads", "2"),
    "workers 2": ("--workers", "2", "--threads", "1"),
}
CHANGED = (0, 1, 10, 100)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The nights of one benchmark.

    Attributes:
        papers: The papers of the smallest night; the job can label all of them.
        taken: Measured nights by name, such as `papers 192`, `threads 2` or `changed 10`, one for each round.
    """

    papers: pa.Table
    bundle: Path
    device: str
    work: Path
    taken: dict[str, list[Night]] = field(default_factory=dict)

    def run(self) -> None:
        """Run every night once more."""
        for name, papers, options in self._nights():
            print(name, file=sys.stderr, flush=True)
            shards = ("--shard-rows", str(len(self.papers)), *options)
            out = self.work / name.replace(" ", "-")
            night = run_night(papers, out, bundle=self.bundle, device=self.device, options=shards)
            self.taken.setdefault(name, []).append(night)

    def as_json(self) -> dict[str, Any]:
        """Return figures by the names of the nights."""
        return {
            name: {
                "papers": nights[0].manifest.rows.rows_in,
                "reused": nights[0].manifest.rows.reused,
                "seconds": spread([night.process.seconds for night in nights]),
                "labelling_seconds": spread([night.labelling_seconds for night in nights]),
                "peak_mb": spread([night.process.peak_mb for night in nights]),
            }
            for name, nights in self.taken.items()
        }

    def _nights(self) -> Iterator[tuple[str, pa.Table, tuple[str, ...]]]:
        for size in SIZES:
            yield f"papers {size * len(self.papers)}", times_as_many(self.papers, size), ()
        middle = times_as_many(self.papers, MIDDLE)
        if self.device == "cpu":
            for name, options in AT_ONCE.items():
                yield name, middle, options
        before = self.work / f"papers-{len(middle)}"
        for percent in CHANGED:
            n_changed = round(percent / 100 * len(middle))
            tonight = pa.concat_tables([edited(middle.slice(0, n_changed), seed=max(SIZES)), middle.slice(n_changed)])
            yield f"changed {percent}", tonight, ("--reuse", str(before))


def times_as_many(papers: pa.Table, times: int) -> pa.Table:
    """Return the papers and `times` - 1 edited copies of each, with new ids."""
    tables = [papers]
    for copy in range(1, times):
        ids = pa.array([f"{paper_id}-{copy}" for paper_id in papers["paper_id"].to_pylist()], pa.string())
        position = papers.schema.get_field_index("paper_id")
        tables.append(edited(papers, seed=copy).set_column(position, "paper_id", ids))
    return pa.concat_tables(tables)


def scaling_markdown(found: Mapping[str, Any]) -> str:
    """Return the table for a page."""
    lines = ["| night | papers | seconds | of labelling | papers/s | peak MB |", "|---|" + "---:|" * 5]
    for name, one in found["nights"].items():
        title = f"{name} %" if name.startswith("changed") else name
        seconds = one["labelling_seconds"]["median"]
        cells = [title, f"{one['papers']:,}", ranged(one["seconds"]), ranged(one["labelling_seconds"])]
        cells += [f"{one['papers'] / seconds:,.3g}" if seconds else "–", f"{one['peak_mb']['median']:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    facts = found["machine"]
    lines += [
        "",
        f"{hardware(facts)}, load {facts['load_before']} before and "
        f"{facts['load_after']} after; shards of {found['shard_rows']} papers; medians of {found['rounds']} rounds. "
        "Seconds are for the whole command, including start-up and reports. Papers/s are for labelling only. "
        "Peak MB is the memory of the largest process.",
    ]
    return "\n".join(lines) + "\n"


def scaling_picture(found: Mapping[str, Any]) -> str:
    """Return the SVG file: curves over papers and changed share, and bars for threads and workers."""
    nights = found["nights"]
    sizes = {one["papers"]: one for name, one in nights.items() if name.startswith("papers ")}
    changed = {float(name.split()[1]): one for name, one in nights.items() if name.startswith("changed ")}
    ticks = {0.0: "0"} | {float(papers): f"{papers:,}" for papers in sizes}
    seconds = [(papers, one["seconds"]["median"]) for papers, one in sizes.items()]
    memory = [(papers, one["peak_mb"]["median"]) for papers, one in sizes.items()]
    reuse = [(share, one["seconds"]["median"]) for share, one in changed.items()]
    at_once = [
        Bar(name=name, figure=ranged(nights[name]["labelling_seconds"]), ours=True, **nights[name]["labelling_seconds"])
        for name in AT_ONCE
        if name in nights
    ]
    panels = [
        curve("Time of a night", seconds, x_name="papers", y_name="seconds", x_ticks=ticks),
        curve("Peak memory of a night", memory, x_name="papers", y_name="MB", x_ticks=ticks),
        curve(
            "Time of a night that reuses another",
            reuse,
            x_name="% of papers changed",
            y_name="seconds",
            x_ticks={0.0: "0", 10.0: "10", 100.0: "100"},
        ),
    ]
    panels += [bars("Seconds of labelling, by papers at once", at_once)] if at_once else []
    return svg_file(panels, about="How time and memory of a night grow")


def main(arguments: argparse.Namespace) -> None:
    """Run the nights and write the JSON, the table and the picture."""
    work = arguments.out / "nights"
    work.mkdir(parents=True, exist_ok=True)
    papers = read_usable(arguments.source, most=arguments.papers)
    scaling = Scaling(papers=papers, bundle=arguments.bundle, device=arguments.device, work=work)
    facts, load_before = machine(arguments.device), load()
    for _ in range(arguments.rounds):
        scaling.run()
    found = {
        "device": arguments.device,
        "machine": facts | {"load_before": load_before, "load_after": load()},
        "shard_rows": arguments.papers,
        "rounds": arguments.rounds,
        "nights": scaling.as_json(),
    }
    write_found(arguments.out, "scaling", found, table=scaling_markdown(found), drawn=scaling_picture(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, metavar in (("bundle", "BUNDLE"), ("source", "PAPERS"), ("out", "OUT")):
        parser.add_argument(name, metavar=metavar, type=Path)
    parser.add_argument("--papers", type=at_least(1), default=32, help="papers of the smallest night")
    parser.add_argument("--rounds", type=at_least(1), default=1, help="turns of every night")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    run_benchmark(main, parser)
