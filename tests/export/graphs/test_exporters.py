"""Both exporters write the same graphs, and PyTorch's own needs no Optimum. Runs with transformers 4 and 5."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from specter_batch.cli import main
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.session import Graph, logits_alone
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.evaluation.evaluate import TorchClassifier
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun
from specter_export.build import build_bundle
from specter_export.graphs.reference import export_reference
from specter_export.recipe import DEFAULT_RECIPES, load_recipe

OPTIMUM = ("optimum", "optimum.exporters.onnx", "optimum.onnxruntime")
with_optimum = pytest.mark.skipif(find_spec("optimum") is None, reason="compares with Optimum")


@pytest.fixture
def without_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    block_optimum(monkeypatch)


def block_optimum(patch: pytest.MonkeyPatch) -> None:
    """Let every import of Optimum fail, as where it is not installed."""
    patch.delitem(sys.modules, "specter_export.graphs.with_optimum", raising=False)
    for name in OPTIMUM:
        patch.setitem(sys.modules, name, None)


@pytest.fixture(scope="module")
def by_torch(tiny_run: TrainingRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of the run's bundle with all graphs, exported where there is no Optimum."""
    out = tmp_path_factory.mktemp("by-torch") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        block_optimum(patch)
        build_bundle(tiny_run, out, recipes=[load_recipe(name) for name in DEFAULT_RECIPES], exporter="torch")
    yield out


@with_optimum
def test_both_exporters_write_the_same_graphs(by_torch: Path, tiny_bundle: Path) -> None:
    for name in ("model.onnx", "model_int8.onnx", "model_fp16.onnx"):
        assert (by_torch / name).read_bytes() == (tiny_bundle / name).read_bytes(), name
    # The same fingerprint: nights with one bundle take over the labels of nights with the other.
    assert ModelBundle.open(by_torch).fingerprint == ModelBundle.open(tiny_bundle).fingerprint


@with_optimum
def test_the_bundle_says_which_exporter_made_it_and_with_which_versions(by_torch: Path, tiny_bundle: Path) -> None:
    training = {file: ModelBundle.open(file).manifest.training for file in (by_torch, tiny_bundle)}
    assert [one["exporter"] for one in training.values()] == ["torch", "optimum"]
    assert training[by_torch]["export_versions"]["transformers"] == version("transformers")
    assert "optimum-onnx" not in training[by_torch]["export_versions"]
    assert training[tiny_bundle]["export_versions"]["optimum-onnx"] == version("optimum-onnx")


def test_every_graph_gives_the_logits_and_labels_of_torch(
    by_torch: Path, tiny_run: TrainingRun, sample_paths: SamplePaths
) -> None:
    bundle = ModelBundle.open(by_torch)
    token_ids = bundle.text_encoder().encode(read_labelled(sample_paths.val).texts())
    expected = TorchClassifier(tiny_run).logits(token_ids) / tiny_run.temperature
    allowed = {"fp32": 1e-4, "fp16": 0.05, "int8": 0.5}
    for entry in bundle.manifest.graphs:
        logits = logits_alone(Graph(by_torch / entry.file, device=Device(kind="cpu"), threads=1), token_ids)
        assert np.abs(logits - expected).max() < allowed[entry.precision], entry.file
        assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.995, entry.file


def test_attention_is_fused_in_every_whole_layer_and_int8_has_every_product(by_torch: Path) -> None:
    fused = [node.op_type for node in onnx.load(str(by_torch / "model_fp16.onnx")).graph.node]
    assert (fused.count("Attention"), fused.count("SkipLayerNormalization")) == (1, 4)
    quantized = [node.op_type for node in onnx.load(str(by_torch / "model_int8.onnx")).graph.node]
    # Six products of the whole layer, and keys and values of the layer that is computed for [CLS] alone.
    assert quantized.count("MatMulInteger") == 8


@pytest.mark.parametrize("pooling", ["cls", "pooler", "mean"])
def test_every_pooling_gives_the_logits_of_torch(
    untrained_run: Callable[..., TrainingRun], sample_paths: SamplePaths, tmp_path: Path, pooling: str
) -> None:
    run = untrained_run(tmp_path / "run", pooling=pooling, head={"hidden_sizes": (16,), "batch_norm": True})
    export_reference(run, tmp_path / "model.onnx", opset=18, exporter="torch")
    token_ids = run.text_encoder().encode(read_labelled(sample_paths.val).texts()[:40])
    found = logits_alone(Graph(tmp_path / "model.onnx", device=Device(kind="cpu"), threads=1), token_ids)
    np.testing.assert_allclose(found, TorchClassifier(run).logits(token_ids), rtol=0, atol=1e-4)


@pytest.mark.usefixtures("without_optimum")
def test_without_optimum_export_says_what_to_install_or_to_add(
    tiny_run: TrainingRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", str(tiny_run.path), str(tmp_path / "bundle")])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "--exporter optimum cannot be used here" in said
    assert "pip install 'specter-batch[export]'" in said
    assert f"this environment has {version('transformers')}" in said
    assert "add --exporter torch" in said
    assert not (tmp_path / "bundle").exists()


def test_without_onnx_export_by_torch_says_what_to_install(
    tiny_run: TrainingRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "specter_export.graphs.with_torch", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SystemExit):
        main(["export", str(tiny_run.path), str(tmp_path / "bundle"), "--exporter", "torch"])
    assert "--exporter torch cannot be used here" in (said := capsys.readouterr().err)
    assert "pip install 'specter-batch[export-torch]'" in said
