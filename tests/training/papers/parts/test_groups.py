import pyarrow as pa
import pytest

from specter_batch.errors import PaperSchemaError
from specter_batch.training.papers.parts.groups import check_group_column, components, group_keys


def groups_of(values: pa.Array, *, separator: str | None = None) -> list[set[int]]:
    rows, keys = group_keys(pa.chunked_array([values]), separator=separator)
    return [{int(key) for row, key in zip(rows, keys, strict=True) if row == number} for number in range(len(values))]


def test_names_are_compared_without_case_and_spacing() -> None:
    nature, shouted, spaced, cell = groups_of(pa.array(["Nature", "NATURE", " nature\n", "Cell"]))
    assert nature == shouted == spaced != cell
    assert len(nature) == 1


@pytest.mark.parametrize("value", [None, "", "  ", "NaN", "null"])
def test_missing_names_are_no_group(value: str | None) -> None:
    assert groups_of(pa.array([value, "Nature"], pa.string()))[0] == set()


def test_each_name_of_a_list_is_a_group() -> None:
    kinds = (pa.list_(pa.string()), pa.large_list(pa.large_string()))
    for kind in kinds:
        first, second, empty, missing = groups_of(pa.array([["A. Li", "B. Ray"], ["b. ray"], [], None], kind))
        assert second < first
        assert (len(first), empty, missing) == (2, set(), set())


def test_numbers_and_dictionaries_are_groups_too() -> None:
    assert groups_of(pa.array([7, 8, 7]))[0] == groups_of(pa.array(["7"]))[0]
    encoded = pa.array(["x", "y", "x"]).dictionary_encode()
    assert groups_of(encoded) == groups_of(pa.array(["x", "y", "x"]))


def test_a_separator_parts_the_names_of_one_value() -> None:
    first, second = groups_of(pa.array(["A. Li; B. Ray;", "B. Ray"]), separator=";")
    assert second < first
    assert len(first) == 2


def test_papers_are_connected_through_each_other() -> None:
    authors = pa.chunked_array([pa.array([["a", "b"], ["b", "c"], ["c"], ["d"], None], pa.list_(pa.string()))])
    keys = group_keys(authors, separator=None)
    nobody = (keys[0][:0], keys[0][:0])
    found = components(5, keys=[keys], pairs=nobody).tolist()
    assert found[0] == found[1] == found[2]
    assert len(set(found)) == 3
    paired = components(5, keys=[keys], pairs=(keys[0][:1] * 0 + 3, keys[0][:1] * 0 + 4)).tolist()
    assert paired[3] == paired[4] != paired[0]


def test_keys_of_two_columns_are_not_mixed_up() -> None:
    one = group_keys(pa.chunked_array([pa.array(["x", None])]), separator=None)
    other = group_keys(pa.chunked_array([pa.array([None, "x"])]), separator=None)
    nobody = (one[0][:0], one[0][:0])
    assert len(set(components(2, keys=[one, other], pairs=nobody).tolist())) == 2


@pytest.mark.parametrize("kind", [pa.list_(pa.struct([("name", pa.string())])), pa.float64(), pa.date32()])
def test_a_column_that_cannot_group_is_refused(kind: pa.DataType) -> None:
    with pytest.raises(PaperSchemaError, match="expected text, whole numbers or lists of them"):
        check_group_column("authors", pa.schema([("authors", kind)]), [], where="a.parquet")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_names_that_are_not_utf8_stay_apart(kind: pa.DataType) -> None:
    one, other, again = groups_of(pa.array([b"M\xfcller", b"M\xf6ller", b"m\xfcller"], kind))
    assert one == again != other
    assert len(one) == 1
