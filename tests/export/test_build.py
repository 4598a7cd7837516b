import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer

from specter_batch.errors import BundleError, ConfigError, ParityError
from specter_batch.graph_names import Precision
from specter_batch.metrics.f1 import softmax
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.manifest import CARD_FILE, MANIFEST_FILE, PARITY_FILE
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.session import Graph, logits_alone
from specter_batch.storage.files import file_sha256
from specter_batch.storage.folder_swap import set_aside
from specter_batch.storage.output_claim import LOCK_FILE, MARKER_FILE, folder_locked, output_command
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.evaluation.evaluate import TorchClassifier
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun
from specter_export.build import build_bundle
from specter_export.gate import check_bundle
from specter_export.graphs.optimize import GraphShape, optimize_fp16
from specter_export.graphs.reference import export_reference
from specter_export.recipe import DEFAULT_RECIPES, REFERENCE_RECIPE, Recipe, Tolerances, load_recipe

IMPOSSIBLE = Tolerances(max_logit_difference=1e-12)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file_sha256(file) for file in folder.iterdir()}


def with_tolerances(name: str, tolerances: Tolerances) -> Recipe:
    return load_recipe(name).model_copy(update={"tolerances": tolerances})


def test_the_bundle_opens_and_says_what_it_holds(tiny_bundle: Path, tiny_run: TrainingRun) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    assert bundle.labels == tiny_run.labels
    assert bundle.temperature == tiny_run.temperature
    assert bundle.text_template == tiny_run.text_template
    assert [graph.precision for graph in bundle.manifest.graphs] == ["fp32", "int8", "fp16"]
    provenance = {name: value for name, value in tiny_run.record.training.items() if name != "log"}
    made_with = {name: bundle.manifest.training[name] for name in ("exporter", "export_versions")}
    assert bundle.manifest.training == provenance | made_with


def test_the_bundle_holds_what_the_plan_says_and_no_scraps(tiny_bundle: Path) -> None:
    tokenizer = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"}
    assert {file.name for file in tiny_bundle.iterdir()} == tokenizer | {
        MARKER_FILE,
        "README.md",
        "bundle.json",
        "config.json",
        "model.onnx",
        "model_fp16.onnx",
        "model_int8.onnx",
        "parity.json",
        "reference.json",
        "seen_texts.npy",
    }
    assert [file.name for file in tiny_bundle.parent.iterdir()] == [tiny_bundle.name]


def test_the_bundle_keeps_the_figures_of_its_gate(tiny_bundle: Path, tiny_run: TrainingRun) -> None:
    figures = json.loads((tiny_bundle / PARITY_FILE).read_text())
    reference = figures["graphs"]["model.onnx"]
    assert reference["passed"]
    assert set(reference["modes"]) == {"alone", "sorted batches", "random batches"}
    assert all(mode["max_logit_difference"] <= 1e-4 for mode in reference["modes"].values())
    # The gate asks the half of the kept training papers that int8 was not smoothed with, and the trap texts.
    assert figures["papers"] > tiny_run.calibration_papers().num_rows / 2


def test_every_graph_gives_embeddings_and_the_manifest_says_how_close_they_are(tiny_bundle: Path) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    assert bundle.manifest.format_version == 2
    assert bundle.embedding_size == 32
    figures = json.loads((tiny_bundle / PARITY_FILE).read_text())["graphs"]
    for graph in bundle.manifest.graphs:
        assert graph.parity.min_embedding_cosine == figures[graph.file]["modes"]["alone"]["min_embedding_cosine"]
        assert graph.parity.min_embedding_cosine is not None
        assert graph.parity.min_embedding_cosine > (0.99 if graph.precision == "int8" else 0.9999)
        assert graph.parity.max_embedding_difference is not None
        assert graph.parity.max_embedding_difference < {"fp32": 1e-4, "fp16": 0.02, "int8": 1.0}[graph.precision]


def test_the_same_run_exported_twice_gives_the_same_bundle(
    tiny_bundle: Path, tiny_run: TrainingRun, tmp_path: Path
) -> None:
    build_bundle(tiny_run, tmp_path / "again", recipes=[load_recipe(name) for name in DEFAULT_RECIPES])
    first, again = contents(tiny_bundle), contents(tmp_path / "again")
    for name in first.keys() - {MANIFEST_FILE, PARITY_FILE, CARD_FILE}:
        assert again[name] == first[name], name
    assert ModelBundle.open(tmp_path / "again").fingerprint == ModelBundle.open(tiny_bundle).fingerprint


def test_a_failing_gate_leaves_the_figures_and_no_bundle(tiny_run: TrainingRun, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    allowed = f"{1e-12 / min(tiny_run.temperature, 1):.2g}"
    with pytest.raises(ParityError, match=rf"model\.onnx: alone: a logit differs by .*, allowed {allowed}"):
        build_bundle(tiny_run, out, recipes=[with_tolerances(REFERENCE_RECIPE, IMPOSSIBLE)])
    assert {file.name for file in out.iterdir()} == {PARITY_FILE, MARKER_FILE}
    assert not json.loads((out / PARITY_FILE).read_text())["graphs"]["model.onnx"]["passed"]
    with pytest.raises(BundleError, match=r"bundle\.json is missing \(parity\.json there shows why"):
        ModelBundle.open(out)
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_a_failing_gate_leaves_a_good_bundle_as_it_was(
    tiny_bundle: Path, tiny_run: TrainingRun, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    with pytest.raises(ParityError, match=r"model_int8\.onnx"):
        build_bundle(tiny_run, out, recipes=[with_tolerances("cpu-int8", IMPOSSIBLE)])
    assert contents(out) == contents(tiny_bundle)
    assert {file.name for file in (tmp_path / "bundle.failed").iterdir()} == {PARITY_FILE, MARKER_FILE}


def test_a_better_export_takes_the_place_of_a_failed_one_and_of_an_old_bundle(
    tiny_run: TrainingRun, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    out.mkdir()
    (out / PARITY_FILE).write_text("{}")
    build_bundle(tiny_run, out, recipes=[load_recipe(REFERENCE_RECIPE)])
    first = ModelBundle.open(out)
    looser = with_tolerances(REFERENCE_RECIPE, Tolerances(max_logit_difference=1e-3))
    build_bundle(tiny_run, out, recipes=[looser])
    second = ModelBundle.open(out)
    assert second.manifest.graphs[0].parity.tolerances == {"max_logit_difference": 1e-3}
    assert second.fingerprint == first.fingerprint
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_of_other_things_is_refused(tiny_run: TrainingRun, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no output of export"):
        build_bundle(tiny_run, tmp_path, recipes=[])
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_recipes_for_one_graph_are_refused(tiny_run: TrainingRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two recipes build the same graph"):
        build_bundle(tiny_run, tmp_path / "bundle", recipes=[load_recipe("cpu-int8")] * 2)


def test_the_fp16_graph_is_fused_half_and_passes_its_gate(tiny_run: TrainingRun, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    report = build_bundle(tiny_run, out, recipes=[load_recipe("cuda-fp16")])["model_fp16.onnx"]
    graph = onnx.load(out / "model_fp16.onnx").graph
    operators = Counter(node.op_type for node in graph.node)
    # Two layers, of which the last computes [CLS] alone and has no self-attention to fuse.
    assert (operators["Attention"], operators["SkipLayerNormalization"], operators["BiasGelu"]) == (1, 4, 2)
    # On a card these would run on the CPU, and the job refuses graphs of which much does.
    assert not {"Shape", "Expand", "ConstantOfShape", "Where"} & operators.keys()
    assert {tensor.data_type for tensor in graph.initializer if tensor.name.endswith("weight")} == {TensorProto.FLOAT16}
    assert {value.type.tensor_type.elem_type for value in graph.input} == {TensorProto.INT32}
    assert report.passed
    bundle = ModelBundle.open(out)
    assert bundle.graph_for("cuda").precision == "fp16"
    assert bundle.graph_for("cpu").precision == "fp32"


def test_a_graph_that_does_not_fuse_is_refused(tiny_run: TrainingRun, tmp_path: Path) -> None:
    reference = tmp_path / "model.onnx"
    export_reference(tiny_run, reference, opset=18)
    with pytest.raises(ParityError, match=r"Attention 1 \(expected 3\)"):
        optimize_fp16(
            reference, tmp_path / "model_fp16.onnx", shape=GraphShape(layers=4, heads=2, hidden=32, cls_only=True)
        )


def test_the_gate_asks_the_papers_it_is_given(tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    recipes = [load_recipe(REFERENCE_RECIPE)]
    report = build_bundle(tiny_run, out, recipes=recipes, papers=sample_paths.val)["model.onnx"]
    assert report.modes["alone"].papers > sample_paths.n_val
    assert report.macro_f1 is not None
    assert report.macro_f1["torch"] == pytest.approx(tiny_run.record.training["validation"]["macro_f1"])
    assert ModelBundle.open(out).manifest.graphs[0].parity.papers == report.modes["alone"].papers


def test_the_parity_of_a_bundle_can_be_checked_again(
    tiny_bundle: Path, tiny_run: TrainingRun, sample_paths: SamplePaths
) -> None:
    reports = check_bundle(ModelBundle.open(tiny_bundle), tiny_run, sample_paths.val)
    assert set(reports) == {"model.onnx", "model_int8.onnx", "model_fp16.onnx"}
    assert all(report.passed for report in reports.values()), reports


def test_the_bundle_of_another_run_fails_the_check(
    tiny_bundle: Path,
    tiny_run: TrainingRun,
    sample_paths: SamplePaths,
    untrained_run: Callable[..., TrainingRun],
    tmp_path: Path,
) -> None:
    other = untrained_run(tmp_path, labels=tuple(tiny_run.labels), max_length=128)
    reports = check_bundle(ModelBundle.open(tiny_bundle), other, sample_paths.val)
    assert not any(report.passed for report in reports.values())


def test_a_run_with_other_labels_is_not_compared_at_all(
    tiny_bundle: Path, sample_paths: SamplePaths, untrained_run: Callable[..., TrainingRun], tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="have different labels"):
        check_bundle(ModelBundle.open(tiny_bundle), untrained_run(tmp_path), sample_paths.val)


def test_optimum_loads_the_bundle_and_gives_the_same_labels(tiny_bundle: Path, sample_paths: SamplePaths) -> None:
    texts = read_labelled(sample_paths.val).texts()[:32]
    model = ORTModelForSequenceClassification.from_pretrained(tiny_bundle, file_name="model.onnx")
    tokenizer = AutoTokenizer.from_pretrained(tiny_bundle)
    encoded = tokenizer(texts, truncation=True, max_length=128, padding=True, return_tensors="pt")
    found = model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits.argmax(dim=1)

    bundle = ModelBundle.open(tiny_bundle)
    ours = OnnxClassifier(bundle, device=Device(kind="cpu"), precision="fp32")
    expected = ours.predict(bundle.text_encoder().encode(texts)).label_id
    ours.close()
    assert found.tolist() == expected.tolist()
    assert [model.config.id2label[i] for i in range(len(bundle.labels))] == list(bundle.labels)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("int8", 0.1), ("fp16", 0.005)])
def test_the_graphs_give_calibrated_scores(
    tiny_bundle: Path, tiny_run: TrainingRun, sample_paths: SamplePaths, precision: Precision, tolerance: float
) -> None:
    assert abs(tiny_run.temperature - 1) > 0.1
    bundle = ModelBundle.open(tiny_bundle)
    token_ids = bundle.text_encoder().encode(read_labelled(sample_paths.val).texts()[:32])
    expected = softmax(TorchClassifier(tiny_run).logits(token_ids), temperature=tiny_run.temperature)
    entry = next(graph for graph in bundle.manifest.graphs if graph.precision == precision)
    graph = Graph.of_bundle(bundle, entry, device=Device(kind="cpu"), threads=1)
    found = softmax(logits_alone(graph, token_ids))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    again = softmax(logits_alone(graph, token_ids), temperature=tiny_run.temperature)
    # A second division would show.
    assert np.abs(again - expected).max() > 10 * np.abs(found - expected).max()


def test_the_tokenizer_of_the_bundle_cuts_texts_where_the_job_does(tiny_bundle: Path, tiny_run: TrainingRun) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    text = "Renal outcomes were assessed after treatment. " * 200
    tokenizer = AutoTokenizer.from_pretrained(tiny_bundle)
    assert tokenizer.model_max_length == tiny_run.record.max_length
    (expected,) = bundle.text_encoder().encode([text])
    assert tokenizer(text, truncation=True)["input_ids"] == expected.tolist()


def test_the_manifest_is_written_over_every_file(tiny_bundle: Path) -> None:
    manifest = json.loads((tiny_bundle / MANIFEST_FILE).read_text())
    sealed = manifest["files"] | {graph["file"]: graph["sha256"] for graph in manifest["graphs"]}
    found = contents(tiny_bundle)
    del found[MANIFEST_FILE], found[MARKER_FILE]
    assert sealed == found


def test_the_bundle_says_which_command_made_it(tiny_bundle: Path) -> None:
    assert output_command(tiny_bundle) == "export"


def test_an_export_that_a_kill_cut_short_leaves_nothing_behind_after_the_next(
    tiny_run: TrainingRun, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    build_bundle(tiny_run, out, recipes=[load_recipe(REFERENCE_RECIPE)])
    first = ModelBundle.open(out)
    left = tmp_path / ".bundle.export-killed"
    left.mkdir()
    (left / LOCK_FILE).touch()
    running = tmp_path / ".bundle.export-running"
    running.mkdir()
    out.rename(set_aside(out))  # the kill came where the file system cannot exchange two names
    with folder_locked(running):
        build_bundle(tiny_run, out, recipes=[load_recipe(REFERENCE_RECIPE)])
    assert ModelBundle.open(out).fingerprint == first.fingerprint
    assert {file.name for file in tmp_path.iterdir()} == {"bundle", running.name}


def test_an_export_that_stops_before_its_last_step_leaves_the_older_bundle(
    tiny_run: TrainingRun, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    set_aside(out).mkdir()  # an earlier kill left it, and the newer bundle is in place

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("specter_export.build.replace_folder", stop)
    with pytest.raises(KeyboardInterrupt):
        build_bundle(tiny_run, out, recipes=[load_recipe(REFERENCE_RECIPE)])
    assert contents(out) == contents(tiny_bundle)
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_a_link_to_a_bundle_stays_a_link(tiny_run: TrainingRun, tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    build_bundle(tiny_run, tmp_path / "current", recipes=[load_recipe(REFERENCE_RECIPE)])
    assert (tmp_path / "current").is_symlink()
    ModelBundle.open(tmp_path / "v1")


def test_a_mount_point_is_refused_before_the_work(
    tiny_run: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda _: True)
    with pytest.raises(ConfigError, match=r"is a mount point.*; give .*bundle"):
        build_bundle(tiny_run, tmp_path, recipes=[])


def test_a_model_too_large_for_one_file_is_exported_with_its_weights_listed(
    tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_apart(run: TrainingRun, file: Path, **settings: Any) -> None:
        export_reference(run, file, **settings)  # as the exporter does of itself with a large model
        name = f"{file.name}_data"
        onnx.save(onnx.load(file), file, save_as_external_data=True, location=name, size_threshold=0)

    monkeypatch.setattr("specter_export.build.export_reference", export_apart)
    monkeypatch.setattr("specter_export.graphs.graph_file.LARGEST_WEIGHTS", 10_000)
    build_bundle(tiny_run, tmp_path / "bundle", recipes=[load_recipe(name) for name in DEFAULT_RECIPES])
    bundle = ModelBundle.open(tmp_path / "bundle")
    apart = {entry.file: set(entry.external_data) for entry in bundle.manifest.graphs}
    assert apart["model.onnx"] == {"model.onnx_data"}
    assert apart["model_fp16.onnx"] == {"model_fp16.onnx.data"}
    listed = {name for entry in bundle.manifest.graphs for name in entry.hashes} | set(bundle.manifest.files)
    assert {file.name for file in bundle.path.iterdir()} == listed | {MANIFEST_FILE, MARKER_FILE}
    token_ids = bundle.text_encoder().encode(read_labelled(sample_paths.val).texts()[:20])
    logits = []
    for opened in (bundle, ModelBundle.open(tiny_bundle)):
        classifier = OnnxClassifier(opened, device=Device(kind="cpu"), precision="fp32", threads=1)
        logits.append(classifier.logits(token_ids))
        classifier.close()
    assert (logits[0] == logits[1]).all()
