from pathlib import Path

import numpy as np
import onnx
import pytest

from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.session import Graph, logits_alone
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.training.demo.sample import make_papers
from specter_export.graphs.probe import peaks
from specter_export.graphs.quantize import float_matmuls
from specter_export.graphs.smooth import QUIETEST, smooth


@pytest.fixture
def model(tiny_bundle: Path) -> onnx.ModelProto:
    return onnx.load(tiny_bundle / "model.onnx")


@pytest.fixture
def token_ids(tiny_bundle: Path) -> list[TokenIds]:
    texts = [f"{row['title']}[SEP]{row['abstract']}" for row in make_papers(n_papers=20, seed=9).to_pylist()]
    return ModelBundle.open(tiny_bundle).text_encoder().encode(texts)


def products_of(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    kept = float_matmuls(model)
    return [node for node in model.graph.node if node.op_type == "MatMul" and node.name not in kept]


def widths_of(model: onnx.ModelProto) -> dict[str, int]:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return {node.input[0]: weights[node.input[1]].dims[0] for node in products_of(model)}


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.8, 1.0])
def test_the_smoothed_graph_computes_the_same(
    model: onnx.ModelProto, token_ids: list[TokenIds], tmp_path: Path, strength: float
) -> None:
    logits = []
    for name in ("before", "after"):
        onnx.save(model, tmp_path / f"{name}.onnx")
        logits.append(logits_alone(Graph(tmp_path / f"{name}.onnx", device=Device(kind="cpu"), threads=1), token_ids))
        smooth(model, [node.name for node in products_of(model)], token_ids[:10], strength=strength)
    np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=1e-4)


def test_wholly_smoothed_activations_are_even(model: onnx.ModelProto, token_ids: list[TokenIds]) -> None:
    before = peaks(model, widths_of(model), token_ids)
    smooth(model, [node.name for node in products_of(model)], token_ids, strength=1.0)
    after = peaks(model, widths_of(model), token_ids)
    assert {f"{name}_even" for name in before} == after.keys()
    for name, loudest in before.items():
        heard = loudest > QUIETEST * loudest.mean()
        np.testing.assert_allclose(after[f"{name}_even"][heard], 1.0, rtol=1e-5)


def test_one_division_serves_all_that_read_an_activation(model: onnx.ModelProto, token_ids: list[TokenIds]) -> None:
    smooth(model, [node.name for node in products_of(model)], token_ids, strength=0.8)
    names = [node.name for node in model.graph.node if node.name.endswith("_even")]
    # Per whole layer: one for query, key and value, one for each other product; and keys and values of the last.
    assert len(names) == len(set(names)) == 4 + 1
    onnx.checker.check_model(model)


def test_a_silent_channel_is_not_amplified_without_limit(model: onnx.ModelProto, token_ids: list[TokenIds]) -> None:
    norm = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
    for tensor in model.graph.initializer:
        if tensor.name in norm.input[1:]:  # gain and bias of the embeddings' norm: channel 0 says nothing
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[0] = 0
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    smooth(model, [node.name for node in products_of(model)], token_ids, strength=1.0)
    inverse = next(t for t in model.graph.initializer if t.name == f"{norm.output[0]}_inverse_scale")
    values = onnx.numpy_helper.to_array(inverse)
    assert np.isfinite(values).all()
    assert values[0] == values.max() < 1 / QUIETEST / np.median(1 / values) * 3
