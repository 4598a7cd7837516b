"""Builds the fp16 graph for CUDA with ONNX Runtime's transformer optimizer. This does not need a GPU."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from specter_batch.errors import ParityError
from specter_export.graphs.graph_file import weights_are_apart


@dataclass(frozen=True, kw_only=True)
class GraphShape:
    """The structure that the optimizer must find in the graph.

    Attributes:
        layers: Number of encoder layers.
        heads: Number of attention heads.
        hidden: Size of a token vector.
        cls_only: True if the last layer is computed only for [CLS]; it then has no self-attention to fuse.
        gelu: True if the activation of the feed-forward layers is GELU.
    """

    layers: int
    heads: int
    hidden: int
    cls_only: bool
    gelu: bool = True


def optimize_fp16(reference: Path, file: Path, *, shape: GraphShape) -> None:
    """Write the fp16 graph of an fp32 graph: attention, LayerNorm and GELU fused, int32 inputs, fp32 logits.

    No operator computes shapes: ONNX Runtime would run those on the CPU, between kernels of the card.

    Raises:
        ParityError: Fewer operators were fused than the model has layers; such a graph would run slowly.
    """
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    model = optimize_model(
        str(reference),
        model_type="bert",
        num_heads=shape.heads,
        hidden_size=shape.hidden,
        optimization_options=FusionOptions("bert"),
        opt_level=0,  # the optimizer's own fusions only: ONNX Runtime's would be those of this machine's provider
        use_gpu=True,
    )
    fused = model.get_fused_operator_statistics()
    wanted = {
        "Attention": shape.layers - shape.cls_only,
        "SkipLayerNormalization": 2 * shape.layers,
        "BiasGelu": shape.layers * shape.gelu,
    }
    missing = [f"{name} {fused[name]} (expected {count})" for name, count in wanted.items() if fused[name] < count]
    if missing:
        raise ParityError(
            f"{file.name}: operators were not fused: {', '.join(missing)}; see specter_batch.training.model.classifier"
        )
    _fold_segments(model.model.graph)
    _fix_shapes(model.model.graph)
    model.prune_graph()
    model.change_graph_inputs_to_int32()
    model.convert_float_to_float16(keep_io_types=True)
    model.save_model_to_file(str(file), use_external_data_format=weights_are_apart(model.model))


def _fold_segments(graph: GraphProto) -> None:
    """Add the vector of segment 0, which every paper has, to the position vectors, in place."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "EmbedLayerNormalization" and node.input[1]:
            positions, segments = (tensors[node.input[place]] for place in (3, 4))
            added = numpy_helper.to_array(positions) + numpy_helper.to_array(segments)[0]
            positions.CopyFrom(numpy_helper.from_array(added, positions.name))
            node.input[1] = node.input[4] = ""


def _fix_shapes(graph: GraphProto) -> None:
    """Replace the computed shape of a `Reshape` by a constant one, in place, where only the batch size is computed.

    0 is `Reshape`'s word for the size that its input has on that axis.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        shape = made_by.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or shape.op_type != "Concat":
            continue
        sizes = [_constant(name, made_by, tensors) for name in shape.input]
        if sizes[0] is None and all(size is not None for size in sizes[1:]):
            values = [0, *(int(value) for size in sizes[1:] if size is not None for value in size)]
            node.input[1] = f"{node.name}_shape"
            graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=np.int64), node.input[1]))


def _constant(
    name: str, made_by: Mapping[str, NodeProto], tensors: Mapping[str, TensorProto]
) -> npt.NDArray[Any] | None:
    """Return a tensor's values if they are fixed in the graph."""
    if name in tensors:
        return numpy_helper.to_array(tensors[name])
    node = made_by.get(name)
    return numpy_helper.to_array(node.attribute[0].t) if node is not None and node.op_type == "Constant" else None
