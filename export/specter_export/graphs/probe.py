"""Measures how large the values inside a graph are on real papers."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from specter_batch.cpus import usable_cpus
from specter_batch.model.device import Device
from specter_batch.model.session import Graph, logits_alone
from specter_batch.model.tokens.encoding import TokenIds
from specter_export.graphs.graph_file import save_graph

Floats = npt.NDArray[np.floating[Any]]


def peaks(model: onnx.ModelProto, channels: Mapping[str, int], token_ids: Sequence[TokenIds]) -> dict[str, Floats]:
    """Return the largest absolute values of tensors inside a graph, `(channels,)` each, over papers run one at a time.

    Args:
        model: The fp32 graph.
        channels: Tensor name -> length of the last axis; 1 to treat the whole tensor as one channel.
        token_ids: Token ids of the papers.
    """
    # A copy of the graph that returns these values instead of the logits.
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    nodes, initializers = probe.graph.node, probe.graph.initializer
    initializers.append(numpy_helper.from_array(np.array([0], dtype=np.int64), "peak_axis"))
    for name, width in channels.items():
        initializers.append(numpy_helper.from_array(np.array([-1, width], dtype=np.int64), f"{name}_rows"))
        nodes.append(helper.make_node("Abs", [name], [f"{name}_abs"]))
        nodes.append(helper.make_node("Reshape", [f"{name}_abs", f"{name}_rows"], [f"{name}_flat"]))
        nodes.append(helper.make_node("ReduceMax", [f"{name}_flat", "peak_axis"], [f"{name}_peak"], keepdims=1))
    nodes.append(helper.make_node("Concat", [f"{name}_peak" for name in channels], ["peaks"], axis=1))
    del probe.graph.output[:]
    probe.graph.output.append(helper.make_tensor_value_info("peaks", TensorProto.FLOAT, [1, sum(channels.values())]))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probe.onnx"
        save_graph(probe, file)
        graph = Graph(file, device=Device(kind="cpu"), threads=usable_cpus())
    largest = logits_alone(graph, token_ids).max(axis=0)
    return dict(zip(channels, np.split(largest, np.cumsum(list(channels.values()))[:-1]), strict=True))


def largest_value(model: onnx.ModelProto, token_ids: Sequence[TokenIds]) -> tuple[str, float]:
    """Return the largest absolute value that any operator of an fp32 graph gives on papers, and the operator's name."""
    typed = onnx.shape_inference.infer_shapes(model).graph
    floats = {value.name for value in typed.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    made_by = {name: node.name for node in model.graph.node if node.op_type != "Constant" for name in node.output}
    peak_values = peaks(model, dict.fromkeys(floats & made_by.keys(), 1), token_ids)
    largest = max(peak_values, key=lambda name: float(peak_values[name][0]))
    return made_by[largest], float(peak_values[largest][0])
