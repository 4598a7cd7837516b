import io
from contextlib import suppress
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from specter_batch.model.external_data import external_data_files

names = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def tensors(draw: st.DrawFn, locations: list[str]) -> TensorProto:
    """Make a tensor with its values inside, or in a file whose name is added to `locations`."""
    tensor = TensorProto(name=draw(names), data_type=TensorProto.FLOAT, doc_string=draw(names))
    tensor.dims.extend(draw(st.lists(st.integers(0, 2**40), max_size=3)))
    if draw(st.booleans()):
        tensor.raw_data = draw(st.binary(max_size=300))
        tensor.double_data.extend(draw(st.lists(st.floats(allow_nan=False), max_size=3)))
        tensor.int64_data.extend(draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3)))
        return tensor
    location = draw(names)
    for key, value in draw(st.permutations([("location", location), ("offset", "12"), ("length", "34")])):
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = TensorProto.EXTERNAL
    locations.append(location)
    return tensor


@st.composite
def graphs(draw: st.DrawFn, locations: list[str], depth: int = 2) -> onnx.GraphProto:
    """Make a graph with tensors in all the places that the format has for them."""
    graph = onnx.GraphProto(name=draw(names))
    graph.initializer.extend(draw(st.lists(tensors(locations), max_size=3)))
    for _ in range(draw(st.integers(0, 2))):
        sparse = graph.sparse_initializer.add()
        sparse.values.CopyFrom(draw(tensors(locations)))
        sparse.indices.CopyFrom(draw(tensors(locations)))
    for _ in range(draw(st.integers(0, 3))):
        graph.node.append(draw(nodes(locations, depth)))
    return graph


@st.composite
def nodes(draw: st.DrawFn, locations: list[str], depth: int) -> onnx.NodeProto:
    node = helper.make_node("Any", ["a"], ["b"], name=draw(names), whole=[1, 2], part=0.5, text=draw(names))
    for number in range(draw(st.integers(0, 2))):
        attribute = node.attribute.add(name=f"tensor{number}", type=onnx.AttributeProto.TENSORS)
        attribute.t.CopyFrom(draw(tensors(locations)))
        attribute.tensors.extend(draw(st.lists(tensors(locations), max_size=2)))
        sparse = attribute.sparse_tensors.add()
        sparse.values.CopyFrom(draw(tensors(locations)))
        attribute.sparse_tensor.indices.CopyFrom(draw(tensors(locations)))
        if depth:
            attribute.g.CopyFrom(draw(graphs(locations, depth - 1)))
            attribute.graphs.append(draw(graphs(locations, depth - 1)))
    return node


@st.composite
def models(draw: st.DrawFn) -> tuple[bytes, set[str]]:
    locations: list[str] = []
    model = onnx.ModelProto(ir_version=8, producer_name=draw(names))
    model.graph.CopyFrom(draw(graphs(locations)))
    for _ in range(draw(st.integers(0, 1))):
        function = model.functions.add(name="f")
        function.node.append(draw(nodes(locations, 0)))
        training = model.training_info.add()
        training.initialization.CopyFrom(draw(graphs(locations, 0)))
        training.algorithm.CopyFrom(draw(graphs(locations, 0)))
    model.metadata_props.add(key="location", value="of no tensor")
    return model.SerializeToString(), set(locations)


@settings(deadline=None, max_examples=40)
@given(models())
def test_every_file_is_found_wherever_its_tensor_is(model: tuple[bytes, set[str]]) -> None:
    content, locations = model
    assert external_data_files(io.BytesIO(content)) == locations


@settings(deadline=None, max_examples=40)
@given(models(), st.data())
def test_a_damaged_graph_is_an_error_or_still_readable(model: tuple[bytes, set[str]], data: st.DataObject) -> None:
    content = bytearray(model[0])
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(ValueError):
        assert all(isinstance(name, str) for name in external_data_files(io.BytesIO(cut)))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_an_error_or_name_files(content: bytes) -> None:
    with suppress(ValueError):
        external_data_files(io.BytesIO(content))


def in_two_parts(*parts: dict[str, Any]) -> bytes:
    """Serialise one tensor as an attacker may: the same field twice, which readers of protobuf merge."""
    serialised = b""
    for part in parts:
        attribute = onnx.AttributeProto(name="a", t=TensorProto(**part))
        serialised += attribute.SerializeToString()
    node = onnx.NodeProto(op_type="Constant").SerializeToString() + b"\x2a" + bytes([len(serialised)]) + serialised
    graph = b"\x0a" + bytes([len(node)]) + node
    return b"\x3a" + bytes([len(graph)]) + graph


def test_a_tensor_that_is_written_in_two_parts_hides_no_file() -> None:
    entry = onnx.StringStringEntryProto(key="location", value="weights")
    content = in_two_parts({"external_data": [entry]}, {"data_location": TensorProto.DEFAULT})
    merged = onnx.ModelProto.FromString(content).graph.node[0].attribute[0].t
    assert merged.external_data[0].value == "weights"
    assert external_data_files(io.BytesIO(content)) == {"weights"}


def test_a_tensor_in_a_file_without_a_name_is_an_error() -> None:
    content = in_two_parts({"data_location": TensorProto.EXTERNAL})
    with pytest.raises(ValueError, match="a file without a name"):
        external_data_files(io.BytesIO(content))
