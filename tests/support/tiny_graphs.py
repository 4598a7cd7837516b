"""Graphs of a few nodes whose logits can be computed by hand."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

PAPERS = [np.array(ids) for ids in ([5, 1], [1], [2, 2, 2, 3], [7], [1, 9, 1])]
# What the tiny graph says of each: the sum of its token ids, the number of its tokens, the sum of its segments.
EXPECTED = [[6, 2, 0], [1, 1, 0], [9, 4, 0], [7, 1, 0], [11, 3, 0]]


def save_graph(
    file: Path,
    inputs: tuple[str, ...],
    *,
    scale: float = 1.0,
    out_type: int = TensorProto.FLOAT,
    embeddings: bool = False,
) -> Path:
    """Write a graph whose logits are the sums over a paper's tokens of ids, mask and segments, times `scale`.

    The embeddings, if it has them, are the logits twice in a row.
    """
    ids = "input_ids"
    nodes = []
    if "attention_mask" in inputs:
        nodes.append(helper.make_node("Mul", ["input_ids", "attention_mask"], ["shown_ids"]))
        ids = "shown_ids"
    parts = []
    for name in (ids, *inputs[1:]):
        nodes.append(helper.make_node("ReduceSum", [name, "axis"], [f"sum_{name}"], keepdims=1))
        parts.append(f"sum_{name}")
    nodes += [
        helper.make_node("Concat", parts, ["sums"], axis=1),
        helper.make_node("Cast", ["sums"], ["float_sums"], to=out_type),
        helper.make_node("Mul", ["float_sums", "scale"], ["logits"]),
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("scale", out_type, [1], [scale]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq_len"]) for name in inputs]
    logits = helper.make_tensor_value_info("logits", out_type, ["batch", len(parts)])
    outputs = [logits]
    if embeddings:
        nodes.append(helper.make_node("Concat", ["logits", "logits"], ["embedding"], axis=1))
        outputs.append(helper.make_tensor_value_info("embedding", out_type, ["batch", 2 * len(parts)]))
    graph = helper.make_graph(nodes, "sums", values, outputs, initializer=constants)
    # The oldest IR version that knows opset 18, so that any supported ONNX Runtime loads it.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    return file
