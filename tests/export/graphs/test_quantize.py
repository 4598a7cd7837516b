import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from specter_batch.metrics.f1 import margins
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.session import Logits
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.training.demo.sample import make_papers
from specter_export.certificate.margins import fit_deferral_margin
from specter_export.graphs.quantize import float_matmuls, quantize
from specter_export.recipe import Quantization, load_recipe

SHIPPED = load_recipe("cpu-int8").quantization


def logits_of(n_labels: int) -> st.SearchStrategy[tuple[Logits, Logits]]:
    """Draw fp32 logits and int8 logits of the same papers, a little or a lot apart."""
    shape = st.tuples(st.integers(1, 40), st.just(n_labels))
    values = st.floats(-8, 8, width=16)
    errors = st.floats(-2, 2, width=16)
    return shape.flatmap(
        lambda size: st.tuples(arrays(np.float32, size, elements=values), arrays(np.float32, size, elements=errors))
    ).map(lambda pair: (pair[0], pair[0] + pair[1]))


def expected_flips(int8: Logits, fp32: Logits, margin: float) -> float:
    """Count, over all pairs of one paper's margin and another's error, the share that is trusted and flips."""
    top = int8.argmax(axis=1)[:, None]
    errors = [
        max((int8[i, top[i, 0]] - int8[i, j]) - (fp32[i, top[i, 0]] - fp32[i, j]) for j in range(int8.shape[1]))
        for i in range(len(int8))
    ]
    trusted = [value for value in margins(int8) if value >= margin]
    return sum(error > value for value in trusted for error in errors) / len(int8) ** 2


@given(logits=logits_of(4), share=st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_papers_above_the_margin_are_expected_to_flip_no_more_than_allowed(
    logits: tuple[Logits, Logits], share: float
) -> None:
    fp32, int8 = logits
    margin = fit_deferral_margin(int8, fp32, max_label_flips=share)
    assert expected_flips(int8, fp32, margin) <= share + 1e-9


def test_a_flip_to_int8s_third_label_counts_as_well() -> None:
    int8 = np.array([[3.0, 2.0, 0.0]], dtype=np.float32)
    fp32 = np.array([[3.0, 2.0, 4.0]], dtype=np.float32)
    assert fit_deferral_margin(int8, fp32, max_label_flips=0.0) > margins(int8)[0]


def test_on_errors_like_those_of_int8_the_flips_left_are_as_allowed_and_few_papers_are_deferred() -> None:
    generator = np.random.default_rng(0)
    fp32 = (generator.normal(size=(4000, 12)) * 2).astype(np.float32)
    int8 = fp32 + generator.normal(size=fp32.shape).astype(np.float32) * np.float32(0.08)
    margin = fit_deferral_margin(int8[:500], fp32[:500], max_label_flips=0.005)
    trusted = margins(int8[500:]) >= margin
    flips = (int8[500:].argmax(axis=1) != fp32[500:].argmax(axis=1)) & trusted
    assert flips.mean() <= 0.005
    assert 0.05 < (~trusted).mean() < 0.2


@given(logits=logits_of(4))
def test_the_margin_is_never_negative_and_shrinks_with_the_allowance(logits: tuple[Logits, Logits]) -> None:
    fp32, int8 = logits
    fitted = [fit_deferral_margin(int8, fp32, max_label_flips=share) for share in (0.0, 0.01, 0.1, 1.0)]
    assert fitted == sorted(fitted, reverse=True)
    assert min(fitted) >= 0


@given(logits=logits_of(4))
def test_a_graph_without_error_defers_nothing(logits: tuple[Logits, Logits]) -> None:
    fp32, _ = logits
    assert fit_deferral_margin(fp32, fp32, max_label_flips=0.0) == 0


@given(logits=logits_of(4), steps=st.integers(-1280, 1280))
@settings(max_examples=50)
def test_what_is_added_to_all_logits_of_a_paper_does_not_matter(logits: tuple[Logits, Logits], steps: int) -> None:
    # In steps of 1/256 no sum is rounded: a rounded one could make or break a tie, which is another problem to fit.
    fp32, int8 = (np.round(each * 256) / np.float32(256) for each in logits)
    margin = fit_deferral_margin(int8, fp32, max_label_flips=0.1)
    assert fit_deferral_margin(int8 + np.float32(steps / 256), fp32, max_label_flips=0.1) == margin


def operators(file: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(file).graph.node)


@pytest.fixture(scope="module")
def token_ids(tiny_bundle: Path) -> list[TokenIds]:
    texts = [f"{row['title']}[SEP]{row['abstract']}" for row in make_papers(n_papers=40, seed=3).to_pylist()]
    return ModelBundle.open(tiny_bundle).text_encoder().encode(texts)


def test_quantizing_writes_the_int8_graph_and_nothing_else(
    tiny_bundle: Path, token_ids: list[TokenIds], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    # Beside a tokenizer, as in the bundle, Optimum copies that too.
    reference = Path(shutil.copy(tiny_bundle / "model.onnx", tmp_path))
    quantize(reference, tmp_path / "out" / "model_int8.onnx", settings=SHIPPED, token_ids=token_ids)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["model_int8.onnx"]
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["model.onnx"]
    assert reference.read_bytes() == (tiny_bundle / "model.onnx").read_bytes()
    assert operators(tmp_path / "out" / "model_int8.onnx")["MatMulInteger"] == 6 + 2


def test_per_channel_gives_each_output_its_own_scale(
    tiny_bundle: Path, token_ids: list[TokenIds], tmp_path: Path
) -> None:
    sizes = {}
    for per_channel in (True, False):
        file = tmp_path / f"{per_channel}.onnx"
        settings = Quantization(per_channel=per_channel)
        quantize(tiny_bundle / "model.onnx", file, settings=settings, token_ids=token_ids)
        scales = [tensor for tensor in onnx.load(file).graph.initializer if tensor.name.endswith("_scale")]
        sizes[per_channel] = max((int(np.prod(tensor.dims)) for tensor in scales), default=0)
    assert sizes[False] <= 1 < sizes[True]


def test_what_int8_would_cost_accuracy_for_nothing_stays_fp32(tiny_bundle: Path) -> None:
    kept = float_matmuls(onnx.load(tiny_bundle / "model.onnx"))
    # Two layers: two products of activations in each, four linear layers of the last that see [CLS] alone, the head.
    assert len(kept) == 2 * 2 + 4 + 1
    found = operators(tiny_bundle / "model_int8.onnx")
    assert found["MatMulInteger"] == 6 + 2
    assert found["MatMul"] == len(kept)


def test_no_addition_stands_right_before_a_layer_norm(tiny_bundle: Path) -> None:
    graph = onnx.load(tiny_bundle / "model_int8.onnx").graph
    made_by = {node.output[0]: node.op_type for node in graph.node}
    norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    # Two in each of two layers, and that of the embeddings.
    assert [made_by[node.input[0]] for node in norms] == ["Sum"] * 5


def test_onnx_runtime_fuses_no_addition_with_a_layer_norm(tiny_bundle: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(tiny_bundle / "model_int8.onnx", options, providers=["CPUExecutionProvider"])
    found = operators(tmp_path / "optimized.onnx")
    assert found["LayerNormalization"] == 5
    assert not found["SkipLayerNormalization"]
