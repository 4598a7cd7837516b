"""Every graph of a bundle and its Torch original, side by side in one run: speed, flips and macro F1.

Usage: python benchmarks/graphs.py RUN BUNDLE PAPERS [ROUNDS]

PAPERS are labelled and were not trained on. All are asked once of each for flips and F1; the first 200 are then timed,
the graphs taking turns, and medians are printed with their range. int8 with deferral is what the job runs on a CPU.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

from specter_batch.bundle import ModelBundle
from specter_batch.metrics import F1Report, Tally
from specter_batch.runtime import Device, OnnxClassifier
from specter_batch.training.data import read_labelled
from specter_batch.training.evaluation import Classifier, TorchClassifier
from specter_batch.training.run import TrainingRun

TIMED_PAPERS = 200


def main(run_folder: str, bundle_folder: str, papers: str, rounds: str = "5") -> None:
    """Measure and print one row per way of asking the model."""
    run, bundle = TrainingRun.open(run_folder), ModelBundle.open(bundle_folder)
    labelled = read_labelled(Path(papers))
    true = labelled.label_ids(run.labels)
    token_ids = run.text_encoder().encode(labelled.texts(run.text_template))
    device = Device(kind="cpu")
    without_deferral = ModelBundle(
        path=bundle.path,
        manifest=bundle.manifest.model_copy(
            update={"graphs": tuple(g.model_copy(update={"deferral_margin": None}) for g in bundle.manifest.graphs)}
        ),
    )
    ways: dict[str, Classifier] = {
        "Torch fp32, sorted batches": TorchClassifier(run),
        "ONNX fp32": OnnxClassifier(bundle, device=device, precision="fp32"),
        "ONNX int8": OnnxClassifier(without_deferral, device=device, precision="int8"),
        "ONNX int8 with deferral": OnnxClassifier(bundle, device=device, precision="int8"),
    }
    logits = {name: way.logits(token_ids) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(int(rounds)):
        for name, way in ways.items():
            began = time.perf_counter()
            way.logits(token_ids[:TIMED_PAPERS])
            seconds[name].append(time.perf_counter() - began)
    reference = logits["ONNX fp32"]
    base = statistics.median(seconds["ONNX fp32"])
    mean_length = np.mean([len(ids) for ids in token_ids])
    print(
        f"{len(token_ids)} papers of {mean_length:.0f} tokens on average; speed over {TIMED_PAPERS}, {rounds} rounds\n"
    )
    print("| graph | macro F1 | flips against fp32 | papers/s (range) | speed |")
    print("|---|---:|---:|---:|---:|")
    for name, found in logits.items():
        predicted = found.argmax(axis=1)
        tally = Tally.count(true, predicted, np.ones(len(true)), n_labels=len(run.labels))
        macro_f1 = F1Report.from_tally(tally, run.labels).macro_f1
        flips = int((predicted != reference.argmax(axis=1)).sum())
        rates = sorted(TIMED_PAPERS / value for value in seconds[name])
        print(
            f"| {name} | {macro_f1:.4f} | {flips} ({flips / len(true):.2%}) "
            f"| {statistics.median(rates):.1f} ({rates[0]:.1f}-{rates[-1]:.1f}) "
            f"| {base / statistics.median(seconds[name]):.2f}x |"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
