"""The graphs that are timed, all made from one fp32 graph on the machine with the card."""

import logging
from pathlib import Path

import onnx
from onnx import helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from specter_export.graphs.optimize import GraphShape, optimize_fp16

DOMAIN = "com.microsoft"


def fused_fp16(reference: Path, file: Path, *, layers: int) -> None:
    """Write the fp16 graph of `export`: attention, LayerNorm and GELU are fused."""
    optimize_fp16(reference, file, shape=GraphShape(layers=layers, heads=12, hidden=768, cls_only=True))


def unfused_fp16(reference: Path, file: Path) -> None:
    """Write the fp16 graph without the fusions of `export`."""
    onnx.save(convert_float_to_float16(onnx.load(reference), keep_io_types=True), file)


def packed_fp16(fused: Path, file: Path) -> None:
    """Write the fused graph without padding: the tokens of a batch in one row, `PackedAttention` for `Attention`.

    The last layer reads only [CLS] and is not fused, so padding is restored before it. The operators are ONNX Runtime's
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
    last = norms[2 * len(attentions) - 1].output[0]  # each layer has two LayerNorms
    packed, offset, cumulated = f"{first}_packed", "token_offset", "cumulated_tokens"
    remove = helper.make_node(
        "RemovePadding", [first, mask], [packed, offset, cumulated, "longest"], "pack", domain=DOMAIN
    )
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
