"""Checks which operators of a CUDA session run on the CPU. Only operators that compute shapes may."""

from pathlib import Path
from typing import Any

from specter_batch.errors import ProviderError

# The session setting that makes ONNX Runtime record which provider runs each operator.
RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"
CPU_PROVIDER = "CPUExecutionProvider"

# ONNX Runtime puts these operators on the CPU if they compute the shape of a tensor, although CUDA has kernels for
# them. The result is a few integers that are needed on the CPU. These operators take no measurable time.
SHAPE_OPERATORS = frozenset(
    {
        "Cast", "Concat", "ConstantOfShape", "Equal", "Gather", "Range", "Reshape", "Shape", "Slice", "Squeeze",
        "Unsqueeze", "Where",
    }
)  # fmt: skip


def check_placement(session: Any, file: Path) -> None:
    """Reject a CUDA session in which the CPU does more than compute shapes.

    Args:
        session: An `onnxruntime.InferenceSession` that was made with the setting `RECORD_PLACEMENT`.
        file: Path of the graph, which the error message names.

    Raises:
        ProviderError: An operator that is not one of `SHAPE_OPERATORS` runs on the CPU.
    """
    on_cpu = sorted(
        {
            node.op_type
            for subgraph in session.get_provider_graph_assignment_info()
            if subgraph.ep_name == CPU_PROVIDER
            for node in subgraph.get_nodes()
        }
        - SHAPE_OPERATORS
    )
    if on_cpu:
        raise ProviderError(
            f"{file}: CUDA has no kernel for {', '.join(on_cpu)} in this graph, so every batch would wait for the CPU; "
            "use a bundle with an fp16 graph (export --recipe cuda-fp16), or run with --device cpu"
        )
