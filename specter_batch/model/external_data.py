"""Finds the files that an ONNX graph takes weights from, without the `onnx` package.

In ONNX, a tensor's values may be in another file (`external_data`). Only the few fields that lead to such a file name
are read here. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import os
from collections.abc import Iterator, Mapping
from typing import BinaryIO

# Message -> field number -> type of the message in that field.
_HOLDS: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
}
_KEY, _VALUE = 1, 2
_DATA_LOCATION, _EXTERNAL = 14, 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def external_data_files(graph: BinaryIO) -> frozenset[str]:
    """Return the names of the files that the tensors of a graph are read from.

    Args:
        graph: The open `.onnx` file, at any position. Only the fields that lead to a file name are read.

    Raises:
        ValueError: The content is not an ONNX graph, or a tensor is in a file without a name.
    """
    names: set[str] = set()
    pending = [("ModelProto", 0, graph.seek(0, os.SEEK_END))]
    while pending:
        message, start, end = pending.pop()
        external, locations = False, []
        for number, value in _fields(graph, start, end):
            if message == "TensorProto" and number == _DATA_LOCATION:
                external = value == _EXTERNAL
            held = _HOLDS[message].get(number)
            if held is None:
                continue
            if not isinstance(value, tuple):
                raise ValueError(f"field {number} of {message} is a number")  # noqa: TRY004 - of the content
            if held == "StringStringEntryProto":
                locations += _location(graph, *value)
            else:
                pending.append((held, *value))
        if external and not locations:
            raise ValueError("a tensor is kept in a file without a name")
        # Names are taken even if this part of the tensor is not marked external, because another part may be.
        names.update(locations)
    return frozenset(names)


def _location(graph: BinaryIO, start: int, end: int) -> list[str]:
    """Return a list with the file name if this entry holds one, otherwise an empty list."""
    parts: dict[int, bytes] = {}
    for number, value in _fields(graph, start, end):
        if number in (_KEY, _VALUE) and isinstance(value, tuple):
            graph.seek(value[0])
            parts[number] = graph.read(value[1] - value[0])
    return [parts.get(_VALUE, b"").decode()] if parts.get(_KEY) == b"location" else []


def _fields(graph: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Yield the number of each field of the message from `start` to `end`, with its value.

    The value is a number, or the start and end of the field's bytes. For a field of fixed width the value is 0.
    """
    while start < end:
        graph.seek(start)
        key = _varint(graph)
        number, kind = key >> 3, key & 7
        value: int | tuple[int, int] = 0
        if kind == _VARINT:
            value = _varint(graph)
            start = graph.tell()
        elif kind == _BYTES:
            size = _varint(graph)
            value = graph.tell(), graph.tell() + size
            start = graph.tell() + size
        elif kind in (_FIXED64, _FIXED32):
            start = graph.tell() + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"wire type {kind} at byte {start}")
        if start > end:
            raise ValueError("the content ends in the middle of a field")
        yield number, value


def _varint(graph: BinaryIO) -> int:
    value = 0
    for i in range(_LONGEST_VARINT):
        byte = graph.read(1)
        if not byte:
            raise ValueError("the content ends in the middle of a number")
        value |= (byte[0] & 0x7F) << (7 * i)
        if byte[0] < 0x80:
            return value
    raise ValueError("a number is too long")
