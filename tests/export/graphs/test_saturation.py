"""CPUs of x86-64 without VNNI: ONNX Runtime's fast int8 kernels there add pairs of products in 16 bits.

`vpmaddubsw` multiplies unsigned activations with signed weights and adds neighbours, saturating at 16 bits; VNNI adds
in 32. ONNX Runtime pairs rows 2i and 2i+1 of the weights (`mlas`, GemmU8S8KernelAvx2).
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from specter_batch.model.bundle import ModelBundle
from specter_batch.training.demo.sample import make_papers
from specter_export.graphs.quantize import quantize
from specter_export.recipe import load_recipe

Ints = npt.NDArray[np.int64]

INT16 = np.iinfo(np.int16)
LOUDEST = 255  # of an activation as uint8


@pytest.fixture(scope="module")
def weights_by_range(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Ints]]:
    """Return the int8 weights `(inputs, outputs)` of a graph of 8 bits and of one of 7."""
    folder = tmp_path_factory.mktemp("ranges")
    token_ids = ModelBundle.open(tiny_bundle).text_encoder().encode(make_papers(n_papers=20)["abstract"].to_pylist())
    settings = load_recipe("cpu-int8").quantization.model_copy(update={"reduce_range": True})
    quantize(tiny_bundle / "model.onnx", folder / "reduced.onnx", settings=settings, token_ids=token_ids)
    return {"8 bits": int8_weights(tiny_bundle / "model_int8.onnx"), "7 bits": int8_weights(folder / "reduced.onnx")}


def int8_weights(file: Path) -> list[Ints]:
    graph = onnx.load(file).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMulInteger"]
    assert products
    return [numpy_helper.to_array(tensors[node.input[1]]).astype(np.int64) for node in products]


def without_vnni(activations: Ints, weights: Ints) -> Ints:
    """Multiply `(papers, inputs)` with `(inputs, outputs)` as `vpmaddubsw` does: pairs of products kept to 16 bits."""
    products = activations[:, :, None] * weights[None]
    pairs = products[:, 0::2] + products[:, 1::2]
    return np.clip(pairs, INT16.min, INT16.max).sum(axis=1)


def worst_case(weights: Ints) -> Ints:
    """Return activations `(outputs, inputs)`: for each output, the loudest wherever its weight is positive."""
    return np.where(weights.T > 0, LOUDEST, 0)


def test_weights_of_8_bits_can_saturate(weights_by_range: dict[str, list[Ints]]) -> None:
    for weights in weights_by_range["8 bits"]:
        loud = worst_case(weights)
        assert not np.array_equal(without_vnni(loud, weights), loud @ weights)


def test_weights_of_7_bits_never_do(weights_by_range: dict[str, list[Ints]]) -> None:
    for weights in weights_by_range["7 bits"]:
        for loud in (worst_case(weights), worst_case(-weights), np.full_like(weights.T, LOUDEST)):
            assert np.array_equal(without_vnni(loud, weights), loud @ weights)
        pairs = LOUDEST * (np.abs(weights[0::2]) + np.abs(weights[1::2]))
        assert pairs.max() <= INT16.max


def test_in_precision_mode_8_bits_are_exact_without_vnni_too(tiny_bundle: Path, tmp_path: Path) -> None:
    """The option makes weights unsigned, whose kernels add in 32 bits: no logit differs by a bit."""
    logits = {}
    for mode in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", mode)
        options.optimized_model_filepath = str(tmp_path / f"{mode}.onnx")
        session = onnxruntime.InferenceSession(
            tiny_bundle / "model_int8.onnx", options, providers=["CPUExecutionProvider"]
        )
        ids = np.arange(5, 60)[None]
        logits[mode] = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    assert np.array_equal(logits["0"], logits["1"])
