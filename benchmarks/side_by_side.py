"""Compare methods to run a model, from the study's loop to the whole job: speed, peak memory and changed labels.

Usage: python benchmarks/side_by_side.py RUN BUNDLE PAPERS OUT [--papers N] [--rounds N] [--compare N]
       [--device cpu|cuda] [--only KEY ...] [--peak-tflops X]

BUNDLE was exported from RUN. PAPERS are real papers that the model was not trained on. The methods take turns: a round
runs each of them once, in its own process, on papers of the same lengths. Slow methods label fewer papers. Time is
measured from texts to labels, after loading and a few papers to warm up. The job is measured from parquet to parquet,
and its start-up is reported separately. Writes `bench.json`, `bench.md` and `bench.svg` to OUT. `OUT/work` keeps the
models that other methods make from the fp32 graph.
"""

import argparse
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from contest.contenders import REFERENCE, contenders
from contest.figures import Figures
from contest.rounds import Race
from measuring.bench_pages import bench_markdown, bench_picture, write_found
from measuring.bench_papers import read_usable, with_turns
from measuring.command_line import at_least, run_benchmark
from measuring.machine import load, machine
from measuring.peak import peak_tflops
from measuring.processes import own_peak_mb

from specter_batch.errors import ConfigError
from specter_batch.model.bundle import ModelBundle
from specter_batch.training.run.folder import TrainingRun


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds.

    Returns:
        The content of `bench.json`.

    Raises:
        SpecterBatchError: Run, bundle or papers cannot be used, or the reference failed.
    """
    run, bundle, device = TrainingRun.open(arguments.run), ModelBundle.open(arguments.bundle), arguments.device
    check_pair(run, bundle)
    keys = keys_of(arguments)
    facts = machine(device)
    peak = (arguments.peak_tflops or peak_tflops(facts["card"])) if device == "cuda" else None
    most = max(arguments.papers, arguments.compare or 0)
    papers = with_turns(read_usable(arguments.source, most=most), bundle.text_encoder(), template=bundle.text_template)
    work = arguments.out / "work" / bundle.fingerprint[:12]  # holds models made from this bundle
    work.mkdir(parents=True, exist_ok=True)
    pq.write_table(papers, work / "papers.parquet")
    race = Race(
        run=run.path,
        bundle=bundle.path,
        work=work,
        device=device,
        papers=papers,
        timed=arguments.papers,
        compare=bool(run.record.training),  # empty: the weights were never trained
    )
    load_before = load()
    race.start(keys, rounds=arguments.rounds)
    return {
        "device": device,
        "machine": facts | {"load_before": load_before, "load_after": load()},
        "peak_tflops": peak,
        # The memory of a process is never reported as less than the memory of the process that starts it.
        "least_peak_mb": own_peak_mb(),
        **Figures(run=run, bundle=bundle, race=race, peak_tflops=peak).as_json(),
    }


def check_pair(run: TrainingRun, bundle: ModelBundle) -> None:
    """Check that the bundle was exported from the run.

    Raises:
        ConfigError: They differ in a field that an export copies.
    """
    for name in ("encoder", "labels", "text_template", "max_length", "pooling", "head", "temperature"):
        of_run, of_bundle = getattr(run.record, name), getattr(bundle.manifest, name)
        if of_run != of_bundle:
            raise ConfigError(
                f"{bundle.path}: expected a bundle exported from {run.path}, whose {name} is {of_run}, "
                f"got {of_bundle}; export the run, or give the other one"
            )


def keys_of(arguments: argparse.Namespace) -> list[str]:
    """Return the keys of the methods to run, in the order of a round. The reference is always among them.

    Raises:
        ConfigError: The device does not have a method that `--only` names.
    """
    every = contenders(arguments.device)
    strangers = set(arguments.only or ()) - set(every)
    if strangers:
        raise ConfigError(f"--only {' '.join(sorted(strangers))}: not on {arguments.device}; it has {', '.join(every)}")
    return [key for key in every if not arguments.only or key in {*arguments.only, REFERENCE}]


def main(arguments: argparse.Namespace) -> None:
    """Measure and write the JSON, the table and the picture."""
    found = measure(arguments)
    write_found(arguments.out, "bench", found, table=bench_markdown(found), drawn=bench_picture(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, metavar in (("run", "RUN"), ("bundle", "BUNDLE"), ("source", "PAPERS"), ("out", "OUT")):
        parser.add_argument(name, metavar=metavar, type=Path)
    parser.add_argument("--papers", type=at_least(2), default=96, help="papers to time; slow ways do a part of them")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="turns of every way")
    parser.add_argument(
        "--compare", type=at_least(1), help="papers whose labels are compared with fp32; those timed if fewer"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", nargs="+", metavar="KEY", help="only these ways, by their keys in bench.json")
    parser.add_argument("--peak-tflops", type=float, help="fp16 peak of the card, where it is not known")
    run_benchmark(main, parser)
