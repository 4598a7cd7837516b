"""Which operators of a CUDA session run on the CPU: those that compute shapes may, all others may not."""

from pathlib import Path
from typing import Any

from specter_batch.errors import ProviderError

# Session setting: ONNX Runtime then remembers which provider each operator was given to.
RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"
CPU_PROVIDER = "CPUExecutionProvider"

# ONNX Runtime itself puts these operators on the CPU where they compute the shape of a tensor, although CUDA has
# kernels for them: the result is a few integers, and it is needed on the CPU. They take no measurable time.
SHAPE_OPERATORS = frozenset(
    {
        "Cast", "Concat", "ConstantOfShape", "Equal", "Gather", "Range", "Reshape", "Shape", "Slice", "Squeeze",
        "Unsqueeze", "Where",
    }
)  # fmt: skip


def check_placement(session: Any, file: Path) -> None:
    """Refuse a CUDA session in which the CPU does more than compute shapes.

    Args:
        session: An `onnxruntime.InferenceSession` that was made with the setting `RECORD_PLACEMENT`.
        file: The graph's file, for the message.

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
