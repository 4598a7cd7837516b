"""Graphs without weights. They are small enough to copy, and are filled with seeded random weights where they run.

A random model runs as fast as a trained one of the same shape. Its labels mean nothing.
"""

import hashlib
import lzma
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

# Smaller tensors are kept: shapes, indices and scalars, which decide what the graph computes.
LEAST_ELEMENTS = 64
HOLLOW = "hollow"


def hollow(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph in which every large tensor of floats has its name, type and shape, and no values."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= LEAST_ELEMENTS:
            name, dims = tensor.name, list(tensor.dims)
            tensor.Clear()
            tensor.name, tensor.data_type, tensor.doc_string = name, onnx.TensorProto.FLOAT, HOLLOW
            tensor.dims.extend(dims)
    return copy


def fill(model: onnx.ModelProto, *, seed: int) -> None:
    """Fill the tensors of a hollow graph with random values, in place. The name of a tensor seeds its values.

    Matrices and biases are normal with standard deviation 0.02, as in BERT's initialisation. The scale of a LayerNorm
    is normal around 1 with standard deviation 0.05.
    """
    scales = {node.input[1] for node in model.graph.node if node.op_type == "LayerNormalization"}
    # Equal tensors are stored once. Identity nodes make the others from them.
    scales |= {node.input[0] for node in model.graph.node if node.op_type == "Identity" and node.output[0] in scales}
    for tensor in model.graph.initializer:
        if tensor.doc_string == HOLLOW:
            digest = hashlib.sha256(f"{seed} {tensor.name}".encode()).digest()
            drawn = np.random.default_rng(int.from_bytes(digest[:8], "little")).standard_normal(
                tuple(tensor.dims), dtype=np.float32
            )
            values = 1 + 0.05 * drawn if tensor.name in scales else 0.02 * drawn
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def save_hollow(model: onnx.ModelProto, file: Path) -> None:
    """Write a hollow graph, compressed with xz."""
    file.write_bytes(lzma.compress(model.SerializeToString(deterministic=True), preset=9))


def load_hollow(file: Path) -> onnx.ModelProto:
    """Read a hollow graph."""
    return onnx.load_model_from_string(lzma.decompress(file.read_bytes()))
