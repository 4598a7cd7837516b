from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from specter_export.graphs.probe import largest_value, peaks

PAPERS = [np.array(ids) for ids in ([3, 1], [2], [1, 1, 2])]
TABLE = np.array([[0.0, 0.0], [1.0, -7.0], [2.0, 3.0], [-5.0, 0.5]], dtype=np.float32)


@pytest.fixture
def model() -> onnx.ModelProto:
    """Return a graph whose logits are the mean over tokens of ten times each token's row in `TABLE`."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], name="embed"),
        helper.make_node("Mul", ["rows", "ten"], ["louder"], name="louder"),
        helper.make_node("ReduceMean", ["louder", "tokens"], ["logits"], name="mean", keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(TABLE, "table"),
        numpy_helper.from_array(np.array(10.0, dtype=np.float32), "ten"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "tokens"),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq_len"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "means", [ids], [logits], initializer=constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_peaks_are_over_all_papers_and_tokens_and_know_no_sign(model: onnx.ModelProto) -> None:
    found = peaks(model, {"rows": 2, "louder": 1}, PAPERS)
    assert found["rows"].tolist() == [5.0, 7.0]
    assert found["louder"].tolist() == [70.0]


def test_probing_leaves_the_graph_as_it_was(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    peaks(model, {"rows": 2}, PAPERS)
    assert model.SerializeToString() == before


def test_the_largest_value_comes_with_the_operator_that_gives_it(model: onnx.ModelProto) -> None:
    assert largest_value(model, PAPERS) == ("louder", 70.0)
    assert largest_value(model, PAPERS[1:2]) == ("louder", 30.0)


def test_every_operator_of_an_exported_graph_is_looked_at(tiny_bundle: Path) -> None:
    """The mask's padding value is the largest float there is, and alone a paper has no padding."""
    model = onnx.load(tiny_bundle / "model.onnx")
    _, value = largest_value(model, [np.arange(5, 60)])
    assert 1 < value < 1000
