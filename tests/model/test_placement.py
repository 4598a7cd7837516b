"""A CUDA session may leave operators that compute shapes to the CPU, and no others."""

from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import pytest

from specter_batch.errors import ProviderError
from specter_batch.model.placement import RECORD_PLACEMENT, SHAPE_OPERATORS, check_placement
from support.tiny_graphs import save_graph


@dataclass(frozen=True)
class Node:
    op_type: str


@dataclass(frozen=True)
class Subgraph:
    ep_name: str
    nodes: tuple[Node, ...]

    def get_nodes(self) -> tuple[Node, ...]:
        return self.nodes


class Session:
    """As much of a session on a card as is looked at; no card is needed."""

    def __init__(self, **operators: tuple[str, ...]) -> None:
        self._subgraphs = [Subgraph(name, tuple(map(Node, kinds))) for name, kinds in operators.items()]

    def get_provider_graph_assignment_info(self) -> list[Subgraph]:
        return self._subgraphs


def test_operators_of_shapes_may_run_on_the_cpu() -> None:
    check_placement(
        Session(CPUExecutionProvider=tuple(SHAPE_OPERATORS), CUDAExecutionProvider=("MatMul",)), Path("g.onnx")
    )


@pytest.mark.parametrize(
    "operator", ["MatMul", "Attention", "Softmax", "Gemm", "LayerNormalization", "DynamicQuantizeLSTM"]
)
def test_any_other_operator_on_the_cpu_is_refused_by_name(operator: str) -> None:
    session = Session(CPUExecutionProvider=("Gather", operator), CUDAExecutionProvider=("MatMul",))
    with pytest.raises(ProviderError, match=rf"g\.onnx: CUDA has no kernel for {operator} in this graph.*--device cpu"):
        check_placement(session, Path("g.onnx"))


def test_a_real_session_records_where_its_operators_are(tmp_path: Path) -> None:
    file = save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask"))
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(RECORD_PLACEMENT, "1")
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match="CUDA has no kernel for"):  # all of it is on the CPU here
        check_placement(session, file)
