"""The graphs that are timed, all made from one fp32 graph on the machine with the card."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from specter_export.optimize import GraphShape, optimize_fp16

DOMAIN = "com.microsoft"


def fused_fp16(reference: Path, file: Path, *, layers: int) -> None:
    """Write the product's fp16 graph: attention, LayerNorm and GELU fused."""
    optimize_fp16(reference, file, shape=GraphShape(layers=layers, heads=12, hidden=768, cls_only=True))


def unfused_fp16(reference: Path, file: Path) -> None:
    """Write the fp16 graph without the product's fusions."""
    onnx.save(convert_float_to_float16(onnx.load(reference), keep_io_types=True), file)


def without_shapes(fused: Path, file: Path) -> None:
    """Write the fused graph without operators that compute shapes, which ONNX Runtime runs on the CPU.

    A paper is always segment 0: its vector is added to those of the positions. The batch size in the last layer's
    reshapes is copied from their input (0 in `Reshape`'s terms).
    """
    model = onnx.load(fused)
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    embed = next(node for node in graph.node if node.op_type == "EmbedLayerNormalization")
    positions, segments = (tensors[embed.input[place]] for place in (3, 4))
    added = numpy_helper.to_array(positions) + numpy_helper.to_array(segments)[0]
    positions.CopyFrom(numpy_helper.from_array(added, positions.name))
    embed.input[1] = embed.input[4] = ""
    for node in graph.node:
        shape = made_by.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and shape.op_type == "Concat":
            rest = [_constant(name, made_by, tensors) for name in shape.input[1:]]
            values = np.array([0, *(int(value) for part in rest for value in part)], dtype=np.int64)
            name = f"{node.name}_shape"
            graph.initializer.append(numpy_helper.from_array(values, name))
            node.input[1] = name
    pruned = OnnxModel(model)
    pruned.prune_graph()
    pruned.save_model_to_file(str(file))


def _constant(name: str, made_by: dict[str, onnx.NodeProto], tensors: dict[str, onnx.TensorProto]) -> Any:
    tensor = tensors.get(name)
    return numpy_helper.to_array(made_by[name].attribute[0].t if tensor is None else tensor)


def packed_fp16(fused: Path, file: Path) -> None:
    """Write the fused graph without padding: tokens of all papers of a batch in one row, `PackedAttention` for `Attention`.

    The last layer reads [CLS] alone and is not fused: padding is put back before it. The operators are ONNX Runtime's
    (https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).

    Raises:
        ValueError: The graph has no fused attention, or its mask is not a count of tokens for each paper.
    """
    model = onnx.load(fused)
    graph = model.graph
    attentions = [node for node in graph.node if node.op_type == "Attention"]
    norms = [node for node in graph.node if node.op_type == "SkipLayerNormalization"]
    if not attentions:
        raise ValueError(f"{fused}: no fused attention to pack")
    first, mask = attentions[0].input[0], attentions[0].input[3]
    last = norms[2 * len(attentions) - 1].output[0]  # two of them in each layer
    packed, offset, cumulated = f"{first}_packed", "token_offset", "cumulated_tokens"
    remove = helper.make_node("RemovePadding", [first, mask], [packed, offset, cumulated, "longest"], "pack", domain=DOMAIN)
    restore = helper.make_node("RestorePadding", [f"{last}_packed", offset], [last], "unpack", domain=DOMAIN)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Attention":
            settings = [setting for setting in node.attribute if setting.name in ("num_heads", "scale")]
            inputs = [*node.input[:3], offset, cumulated]
            node = helper.make_node("PackedAttention", inputs, list(node.output), node.name, domain=DOMAIN)
            node.attribute.extend(settings)
        inside = node.op_type in ("PackedAttention", "MatMul", "BiasGelu", "SkipLayerNormalization")
        if inside:
            for position, name in enumerate(node.input):
                if name == first:
                    node.input[position] = packed
        if last in node.output:
            node.output[list(node.output).index(last)] = f"{last}_packed"
        nodes.append(node)
        if first in node.output:
            nodes.append(remove)
        if f"{last}_packed" in node.output:
            nodes.append(restore)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    onnx.save(model, file)


def quiet() -> None:
    """Keep the optimizer's log to errors."""
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
