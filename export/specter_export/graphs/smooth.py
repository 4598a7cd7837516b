"""Evens out activations before they are quantized, as in SmoothQuant (Xiao et al. 2023, arXiv:2211.10438)."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from specter_batch.model.tokens.encoding import TokenIds
from specter_export.graphs.probe import Floats, peaks

# The largest activations hardly change after a hundred papers.
MEASURED_PAPERS = 100
# The smallest value that is used for a channel, as a share of the mean channel. A channel that is almost 0 on these
# papers may be large on others, so amplification must be limited.
QUIETEST = 0.1


def smooth(model: onnx.ModelProto, products: Sequence[str], token_ids: Sequence[TokenIds], *, strength: float) -> None:
    """Scale activation channels down and the weights that read them up. The result of the graph stays the same.

    A few channels of BERT's activations are ten times as large as the others. A paper has one int8 scale, so all other
    channels are rounded coarsely. Channel j of an activation is divided, and row j of its weights multiplied, by
    `max|x_j| ** strength / max|w_j| ** (1 - strength)` (equation 4 of the paper).

    Args:
        model: The fp32 graph, which is changed in place.
        products: Names of the MatMul nodes to be quantized, each of which multiplies an activation and a weight.
        token_ids: Token ids of papers on which activations are measured; the first `MEASURED_PAPERS` are used.
        strength: Strength, 0 to 1. With 1 the activations become even, with 0 the weights.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.name in products:
            readers.setdefault(node.input[0], []).append(node)
    widths = {name: weights[reading[0].input[1]].dims[0] for name, reading in readers.items()}
    loudest = peaks(model, widths, token_ids[:MEASURED_PAPERS])

    divisions: dict[str, onnx.NodeProto] = {}
    for name, reading in readers.items():
        values = {node.input[1]: numpy_helper.to_array(weights[node.input[1]]) for node in reading}
        heaviest = np.max([np.abs(value).max(axis=1) for value in values.values()], axis=0)
        scale = _bounded(loudest[name]) ** strength / _bounded(heaviest) ** (1 - strength)
        for weight, value in values.items():
            weights[weight].CopyFrom(numpy_helper.from_array((value * scale[:, None]).astype(np.float32), weight))
        inverse = numpy_helper.from_array((1 / scale).astype(np.float32), f"{name}_inverse_scale")
        model.graph.initializer.append(inverse)
        divisions[reading[0].name] = helper.make_node(
            "Mul", [name, inverse.name], [f"{name}_even"], name=f"{name}_even"
        )
        for node in reading:
            node.input[0] = f"{name}_even"
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        model.graph.node.extend([divisions[node.name], node] if node.name in divisions else [node])


def _bounded(values: Floats) -> Floats:
    return np.maximum(values, max(QUIETEST * values.mean(), np.finfo(np.float32).tiny))
