import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from specter_batch.model.device import Device
from specter_batch.model.manifest import PARITY_FILE
from specter_batch.model.session import Graph
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.papers.text import normalised_text_hash, paper_text
from specter_batch.training.demo.sample import SamplePaths, make_papers
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun
from specter_export.gate import FP16_MAX, Gate, gate_papers
from specter_export.graphs.optimize import GraphShape, optimize_fp16
from specter_export.graphs.reference import export_reference
from specter_export.parity import ParityReport
from specter_export.recipe import load_recipe

SHAPE = GraphShape(layers=2, heads=2, hidden=32, cls_only=True)


def judged_in_fp16(run: TrainingRun, folder: Path) -> ParityReport:
    export_reference(run, folder / "model.onnx", opset=18)
    optimize_fp16(folder / "model.onnx", folder / "model_fp16.onnx", shape=SHAPE)
    gate = Gate.open(gate_papers(run, make_papers(n_papers=12, seed=4)), folder / "model.onnx")
    graph = Graph(folder / "model_fp16.onnx", device=Device(kind="cpu"), threads=1)
    tolerances = load_recipe("cuda-fp16").tolerances
    return gate.judge(graph, file="model_fp16.onnx", precision="fp16", tolerances=tolerances)


def scaled(run: TrainingRun, **factors: float) -> TrainingRun:
    """Multiply weights of a run, `parameter` by `factor`, dots written as double underscores."""
    weights = load_file(run.path / "model.safetensors")
    for name, factor in factors.items():
        weights[name.replace("__", ".")] *= np.float32(factor)
    save_file(weights, run.path / "model.safetensors", metadata={"format": "pt"})
    return run


def test_the_gate_asks_texts_of_every_length_up_to_the_longest(
    untrained_run: Callable[..., TrainingRun], tmp_path: Path
) -> None:
    papers = gate_papers(untrained_run(tmp_path, max_length=128), make_papers(n_papers=12, seed=4))
    lengths = [len(ids) for ids in papers.longest(2)]
    assert lengths == sorted(len(ids) for ids in papers.token_ids)[-2:] == [128, 128]


def test_a_model_within_fp16s_range_passes_with_its_largest_value(
    untrained_run: Callable[..., TrainingRun], tmp_path: Path
) -> None:
    report = judged_in_fp16(untrained_run(tmp_path / "run"), tmp_path)
    assert report.passed, report.failures
    assert report.largest_value is not None
    assert 1 < report.largest_value < FP16_MAX


def test_a_value_too_large_for_fp16_fails_and_names_its_operator(
    untrained_run: Callable[..., TrainingRun], tmp_path: Path
) -> None:
    """The logits alone do not tell: tanh takes what is infinite to 1."""
    run = untrained_run(tmp_path / "run", pooling="pooler")
    report = judged_in_fp16(scaled(run, bert__pooler__dense__weight=1e6), tmp_path)
    assert not report.passed
    assert any("pooler" in failure and "fp16 holds 65,504 at most" in failure for failure in report.failures)
    assert report.largest_value is not None
    assert report.largest_value > FP16_MAX
    assert np.isfinite(report.modes["alone"].max_logit_difference)


def test_an_overflow_that_reaches_the_logits_fails_twice(
    untrained_run: Callable[..., TrainingRun], tmp_path: Path
) -> None:
    run = untrained_run(tmp_path / "run")
    ffn = "bert__encoder__layer__0"
    loud = {f"{ffn}__intermediate__dense__weight": 1e6, f"{ffn}__intermediate__dense__bias": 1e6}
    report = judged_in_fp16(scaled(run, **loud, **{f"{ffn}__output__dense__weight": 1e-6}), tmp_path)
    assert report.failures[0].startswith("alone: a logit differs by")
    assert any("fp16 holds 65,504 at most" in failure for failure in report.failures)


def test_fp32_is_not_held_to_fp16s_range(untrained_run: Callable[..., TrainingRun], tmp_path: Path) -> None:
    run = scaled(untrained_run(tmp_path / "run", pooling="pooler"), bert__pooler__dense__weight=1e6)
    export_reference(run, tmp_path / "model.onnx", opset=18)
    gate = Gate.open(gate_papers(run, make_papers(n_papers=12, seed=4)), tmp_path / "model.onnx")
    tolerances = load_recipe("reference-fp32").tolerances.model_copy(update={"max_logit_difference": 0.01})
    report = gate.judge(gate.reference, file="model.onnx", precision="fp32", tolerances=tolerances)
    assert report.passed, report.failures
    assert report.largest_value is None


def sha256(token_ids: list[TokenIds]) -> str:
    return hashlib.sha256(b"".join(ids.tobytes() for ids in token_ids)).hexdigest()


def test_what_int8_was_fitted_on_is_recorded_and_was_trained_on_and_is_not_what_the_gate_asks(
    tiny_bundle: Path, tiny_run: TrainingRun, sample_paths: SamplePaths
) -> None:
    calibration = tiny_run.calibration_papers().to_pylist()
    texts = [paper_text(row["title"], row["abstract"], tiny_run.text_template) for row in calibration]
    fitting, checking = texts[::2], texts[1::2]
    parity = json.loads((tiny_bundle / PARITY_FILE).read_text())
    assert parity["fitting_papers"] == len(fitting)
    assert parity["fitting_papers_sha256"] == sha256(tiny_run.text_encoder().encode(fitting))
    assert parity["papers_sha256"] == sha256(
        gate_papers(tiny_run, tiny_run.calibration_papers().take(list(range(1, len(texts), 2)))).token_ids
    )
    assert not set(fitting) & set(checking)

    hashes = {normalised_text_hash(text) for text in texts}
    assert hashes <= set(tiny_run.seen_texts().tolist())
    evaluated = read_labelled(sample_paths.val).texts(tiny_run.text_template)
    assert not hashes & {normalised_text_hash(text) for text in evaluated}
