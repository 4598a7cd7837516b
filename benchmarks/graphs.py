"""Every graph of a bundle, its Torch original and its peers, side by side in one run: size, speed, flips and macro F1.

Usage: python benchmarks/graphs.py RUN BUNDLE PAPERS WORK [--limit N] [--timed N] [--rounds N]

PAPERS are labelled and were not trained on. The first --limit of them are asked once of each for flips and F1; the
first --timed are then timed, all ways taking turns, and medians are printed. WORK is a folder for the peers' models,
kept for the next time, and for `graphs.json`. "alone" is one paper a call on one core, a call on every core: how the
job runs on a CPU. "CPU" is the processor time of all cores, which other work on the machine changes little.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peers
import torch

from specter_batch.bundle import ModelBundle
from specter_batch.files import write_json
from specter_batch.metrics import F1Report, Ints, Tally
from specter_batch.papers import paper_text
from specter_batch.runtime import Device, Logits, OnnxClassifier, usable_cpus
from specter_batch.training.data import read_labelled
from specter_batch.training.evaluation import Classifier, TorchClassifier
from specter_batch.training.run import TrainingRun

BASE = "ONNX fp32, alone"
Way = tuple[Callable[[], Classifier], list[Path]]


def ways_of(run: TrainingRun, bundle: ModelBundle, work: Path) -> dict[str, Way]:
    """Return what is compared: how to make it, and the files that it needs."""
    device = Device(kind="cpu")
    fp32, int8 = (bundle.path / bundle.graph_for("cpu", precision).file for precision in ("fp32", "int8"))
    checkpoint = run.path / "model.safetensors"
    calibration = run.text_encoder().encode(
        [paper_text(row["title"], row["abstract"], run.text_template) for row in run.calibration_papers().to_pylist()]
    )
    stock = work / f"{fp32.stem}_stock.onnx"
    static = work / f"{fp32.stem}_openvino_int8.xml"

    def static_int8(*, alone: bool) -> Classifier:
        file = peers.openvino_int8(fp32, work, calibration)
        return peers.OpenVino(file, precision="f32", alone=alone)

    return {
        "Torch fp32, sorted batches": (lambda: TorchClassifier(run), [checkpoint]),
        "Torch bf16, sorted batches": (lambda: peers.torch_bf16(run), [checkpoint]),
        "ONNX fp32, sorted batches": (lambda: peers.onnx_runtime(fp32, alone=False), [fp32]),
        BASE: (lambda: peers.onnx_runtime(fp32, alone=True), [fp32]),
        "Optimum int8, sorted batches": (
            lambda: peers.onnx_runtime(peers.stock_int8(fp32, work), alone=False),
            [stock],
        ),
        "Optimum int8, alone": (lambda: peers.onnx_runtime(peers.stock_int8(fp32, work), alone=True), [stock]),
        "OpenVINO bf16, sorted batches": (lambda: peers.OpenVino(fp32, precision="bf16", alone=False), [fp32]),
        "OpenVINO bf16, alone": (lambda: peers.OpenVino(fp32, precision="bf16", alone=True), [fp32]),
        "OpenVINO int8, sorted batches": (lambda: static_int8(alone=False), [static, static.with_suffix(".bin")]),
        "OpenVINO int8, alone": (lambda: static_int8(alone=True), [static, static.with_suffix(".bin")]),
        "our int8, alone": (lambda: peers.onnx_runtime(int8, alone=True), [int8]),
        "our int8 with deferral (the job)": (
            lambda: OnnxClassifier(bundle, device=device, precision="int8"),
            [int8, fp32],
        ),
    }


def make_all(ways: dict[str, Way]) -> dict[str, Classifier]:
    """Make what can be made here, and say what cannot."""
    made = {}
    for name, (make, _) in ways.items():
        try:
            made[name] = make()
        except ImportError as error:
            print(f"skipped: {name} ({error}; see benchmarks/peers.py)")
    return made


def time_all(made: dict[str, Classifier], token_ids: list[Any], rounds: int) -> dict[str, dict[str, float]]:
    """Return medians of papers/s and of CPU milliseconds a paper, the ways taking turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, way in made.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way.logits(token_ids)
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    count = len(token_ids)
    return {
        name: {
            "papers_per_second": count / statistics.median(wall for wall, _ in pairs),
            "cpu_ms": 1000 * statistics.median(cpu for _, cpu in pairs) / count,
        }
        for name, pairs in taken.items()
        if pairs
    }


def macro_f1(true: Ints, logits: Logits, run: TrainingRun) -> float:
    """Return the macro F1 of the top labels."""
    tally = Tally.count(true, logits.argmax(axis=1), np.ones(len(true)), n_labels=len(run.labels))
    return F1Report.from_tally(tally, run.labels).macro_f1


def main(arguments: argparse.Namespace) -> None:
    """Measure, print one row per way of asking the model, and write `graphs.json`."""
    run, bundle = TrainingRun.open(arguments.run), ModelBundle.open(arguments.bundle)
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(usable_cpus())
    labelled = read_labelled(arguments.papers)
    true = labelled.label_ids(run.labels)[: arguments.limit]
    token_ids = run.text_encoder().encode(labelled.texts(run.text_template)[: arguments.limit])

    ways = ways_of(run, bundle, arguments.work)
    made = make_all(ways)
    logits = {name: way.logits(token_ids) for name, way in made.items()}
    load_before = os.getloadavg()[0]
    times = time_all(made, token_ids[: arguments.timed], arguments.rounds)
    load = f"{load_before:.1f} to {os.getloadavg()[0]:.1f}"

    reference = logits[BASE]
    rows = {}
    for name, found in logits.items():
        flips = float((found.argmax(axis=1) != reference.argmax(axis=1)).mean())
        rows[name] = {
            "megabytes": sum(file.stat().st_size for file in ways[name][1]) / 1e6,
            "flips": flips,
            "max_logit_difference": float(np.abs(found - reference).max()),
            "macro_f1": macro_f1(true, found, run),
            **times.get(name, {}),
        }
    mean_length = float(np.mean([len(ids) for ids in token_ids]))
    facts = {
        "papers": len(token_ids),
        "mean_tokens": mean_length,
        "timed_papers": min(arguments.timed, len(token_ids)),
        "rounds": arguments.rounds,
        "cores": usable_cpus(),
        "load": load,
        "deferral_margin": bundle.graph_for("cpu", "int8").deferral_margin,
    }
    write_json(arguments.work / "graphs.json", {**facts, "ways": rows})
    print(", ".join(f"{key} {value}" for key, value in facts.items()) + "\n")
    print_table(rows)


def print_table(rows: dict[str, dict[str, float]]) -> None:
    """Print Markdown; speeds are relative to ONNX fp32 alone and to Torch fp32, by the clock and by CPU time."""
    print(
        "| | MB | papers/s | × ONNX fp32 | × Torch fp32 | CPU ms | × ONNX fp32 by CPU | flips | max Δlogit | macro F1 |"
    )
    print("|---|" + "---:|" * 9)
    base, torch_fp32 = rows[BASE], rows["Torch fp32, sorted batches"]
    for name, row in rows.items():
        speed = ["", "", "", "", ""]
        if "cpu_ms" in row:
            rate = row["papers_per_second"]
            ratios = (rate / base["papers_per_second"], rate / torch_fp32["papers_per_second"])
            speed = [f"{rate:.1f}", *(f"{ratio:.2f}" for ratio in ratios)]
            speed += [f"{row['cpu_ms']:.1f}", f"{base['cpu_ms'] / row['cpu_ms']:.2f}"]
        cells = [name, f"{row['megabytes']:.0f}", *speed, f"{row['flips']:.2%}"]
        print("| " + " | ".join([*cells, f"{row['max_logit_difference']:.1e}", f"{row['macro_f1']:.4f}"]) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "bundle", "papers", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--limit", type=int, default=2000, help="papers for flips and F1")
    parser.add_argument("--timed", type=int, default=100, help="papers to time")
    parser.add_argument("--rounds", type=int, default=5, help="0 times nothing")
    main(parser.parse_args())
