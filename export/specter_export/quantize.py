"""The int8 graph for CPUs, through Optimum's quantizer, and the margin under which a paper is deferred to fp32."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

from specter_batch.metrics.f1 import margins
from specter_batch.model.encoding import TokenIds
from specter_batch.model.session import Logits
from specter_export.graph_file import save_graph
from specter_export.recipe import Quantization
from specter_export.smooth import smooth


def quantize(reference: Path, file: Path, *, settings: Quantization, token_ids: Sequence[TokenIds]) -> None:
    """Write the dynamic int8 graph of an fp32 graph: int8 weights, activations quantized as they come.

    Args:
        reference: The fp32 graph.
        file: The graph to write.
        settings: Of the graph's recipe.
        token_ids: Of papers to measure activations on.
    """
    logging.getLogger("optimum").setLevel(logging.ERROR)
    model = onnx.load(str(reference))
    kept = float_matmuls(model)
    if settings.smoothing is not None:
        products = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.name not in kept]
        smooth(model, products, token_ids, strength=settings.smoothing)
    _part_additions_from_norms(model)
    preset = AutoQuantizationConfig.avx512_vnni(
        is_static=False,
        per_channel=settings.per_channel,
        # Embeddings stay fp32: a look-up gains nothing from int8, and its rounding would reach every layer.
        operators_to_quantize=["MatMul"],
        nodes_to_exclude=kept,
    )
    preset.reduce_range = settings.reduce_range
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        save_graph(model, prepared)
        ORTQuantizer(prepared).quantize(preset, save_dir=scratch, file_suffix="int8")
        (Path(scratch) / "prepared_int8.onnx").replace(file)


def _part_additions_from_norms(model: onnx.ModelProto) -> None:
    """Write the residual additions as Sum, which is the same.

    ONNX Runtime fuses Add and LayerNormalization to SkipLayerNormalization, and its CPU kernel takes several times as
    long as the two: a tenth of the int8 graph's time. It does not look for Sum.
    """
    normed = {node.input[0] for node in model.graph.node if node.op_type == "LayerNormalization"}
    for node in model.graph.node:
        if node.op_type == "Add" and node.output[0] in normed:
            node.op_type = "Sum"


def float_matmuls(model: onnx.ModelProto) -> list[str]:
    """Name the matrix products that stay fp32 because int8 would cost accuracy there and win no time.

    These are the products of two activations (attention scores and their sum over values), what the last layer
    computes for [CLS] alone (one row of each of its products, all but keys and values), and pooler and head.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    products = [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and (node.input[1] not in weights or _is_of_cls_alone(node.name))
    ]
    # The quantizer first makes a MatMul of this name of every Gemm, and Gemms are the layers on pooled vectors.
    return products + [f"{node.name}_MatMul" for node in graph.node if node.op_type == "Gemm"]


def _is_of_cls_alone(name: str) -> bool:
    # Whole layers carry their number in the name; `specter_batch.training.model.classifier` takes the last one apart.
    return "layer." not in name and not any(part in name for part in ("/key/", "/value/"))


def fit_deferral_margin(int8: Logits, fp32: Logits, *, max_label_flips: float) -> float:
    """Return the margin under which int8's label is not to be trusted.

    A label flips when int8 overstates the lead of its top label over some other by more than that lead. The error
    hardly depends on the paper, so the expected share of flips is that over all pairs of one paper's int8 margin and
    another's error: from n papers n^2 pairs, which tells small shares that n papers alone could not. The margin is
    the smallest at which the papers above it are expected to flip no more than allowed. The largest error to any
    label is taken for the one to the second, which errs to the safe side.

    Args:
        int8: Logits `(n, n_labels)` of calibration papers.
        fp32: The reference's logits of the same papers.
        max_label_flips: Wanted share of papers at most.
    """
    top = int8.argmax(axis=1)[:, None]
    leads = [np.take_along_axis(logits, top, axis=1) - logits for logits in (int8, fp32)]
    errors = np.sort((leads[0] - leads[1]).max(axis=1))
    descending = np.sort(margins(int8))[::-1]
    flipped = 1 - np.searchsorted(errors, descending, side="right") / len(errors)
    expected = np.cumsum(flipped) / len(descending)  # of the papers from the widest margin down to each
    trusted = int((expected <= max_label_flips).sum())
    if trusted == len(descending):
        return 0.0
    # Between the widest margin that may not be trusted and the next wider one; above all where there is none.
    limit = descending[trusted]
    wider = descending[descending > limit]
    return float((limit + wider[-1]) / 2 if len(wider) else limit + 1)
