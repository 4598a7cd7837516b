import io
import json
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.errors import PaperSchemaError
from specter_batch.storage.json_stream import JsonScanner

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Trickle(io.RawIOBase):
    """Gives a few bytes at a time, whatever is asked for."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, self._step))


def members(stream: Any, **sizes: int) -> dict[str, Any]:
    scanner = JsonScanner(stream, **sizes)
    return {key: scanner.value() for key in scanner.members()}


@given(value=st.dictionaries(st.text(), JSON, max_size=5), step=st.integers(1, 9), indent=st.sampled_from([None, 0, 3]))
def test_however_the_bytes_come_the_values_are_those_of_json_load(value: Any, step: int, indent: int | None) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=step % 2 == 0).encode(errors="surrogatepass")
    if b"\xed" not in data:  # half a surrogate pair, raw: it comes as other surrogates
        assert members(Trickle(data, step)) == json.loads(data)


@given(value=st.lists(JSON, max_size=6), step=st.integers(1, 9))
def test_items_of_a_list_are_those_of_json_load(value: Any, step: int) -> None:
    data = json.dumps(value).encode()
    assert list(JsonScanner(Trickle(data, step)).items()) == json.loads(data)


@pytest.mark.parametrize("data", [b'{"a" 1}', b'{"a": 1 "b": 2}', b"{1: 2}", b"[1]", b"", b'{"a": tru', b'{"a": 1'])
def test_what_is_no_json_object_is_an_error_that_says_where(data: bytes) -> None:
    with pytest.raises(PaperSchemaError, match=r"not valid JSON at character \d+"):
        members(io.BytesIO(data))


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(PaperSchemaError, match="nested too deeply"):
        members(io.BytesIO(b'{"a": ' + b"[" * 200_000))


def test_a_missing_quote_does_not_pull_the_whole_file_into_memory() -> None:
    stream = io.BytesIO(b'{"a": "' + b"x" * 1_000_000)
    with pytest.raises(PaperSchemaError, match="Unterminated string"):
        members(stream, read_bytes=100, most_characters=1000)
    assert stream.tell() < 10_000


def test_memory_does_not_grow_with_the_file() -> None:
    member = json.dumps({"title": "x" * 2000}).encode()
    data = b"{" + b",".join(b'"%d": %s' % (number, member) for number in range(15_000)) + b"}"
    assert len(data) > 30e6
    scanner = JsonScanner(io.BytesIO(data))
    tracemalloc.start()
    n_members = sum(len(scanner.value()["title"]) == 2000 for _ in scanner.members())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_members == 15_000
    assert peak < 8e6


def test_a_large_value_in_small_reads_is_found() -> None:
    rng = random.Random(0)
    value = {"long": "".join(rng.choice('ab\\"{}é') for _ in range(20_000)), "n": 12345.678e-9}
    assert members(io.BytesIO(json.dumps(value).encode()), read_bytes=16) == value
