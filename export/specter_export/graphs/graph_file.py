"""Writes a graph to disk: in one file, or with its weights in a second file if they are too large for one."""

from pathlib import Path

import onnx

# Protobuf, the format of ONNX files, holds at most 2 GiB; some of it is for the nodes.
LARGEST_WEIGHTS = 2**31 - 2**26


def weights_are_apart(model: onnx.ModelProto) -> bool:
    """Return whether the weights of a graph are too large for the graph's file."""
    return bool(sum(tensor.ByteSize() for tensor in model.graph.initializer) > LARGEST_WEIGHTS)


def save_graph(model: onnx.ModelProto, file: Path) -> None:
    """Write a graph; weights that are too large for its file go to `FILE_data` in the same folder."""
    if weights_are_apart(model):
        onnx.save(model, str(file), save_as_external_data=True, location=f"{file.name}_data", size_threshold=1024)
    else:
        onnx.save(model, str(file))
