import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.errors import LabelError
from specter_batch.labels import MAG, MESH, LabelSet

words = st.text(st.characters(categories=["L"]), min_size=1)
name_lists = st.lists(words, min_size=2, max_size=12, unique=True)


@given(name_lists)
def test_every_name_finds_its_own_position(names: list[str]) -> None:
    labels = LabelSet(names=tuple(names))
    assert [labels.id_of(name) for name in labels] == list(range(len(labels)))
    assert list(labels) == names


@given(name_lists)
def test_every_id_written_as_digits_finds_itself(names: list[str]) -> None:
    labels = LabelSet(names=tuple(names))
    assert [labels.id_of(str(position)) for position in range(len(labels))] == list(range(len(labels)))
    assert labels.find(str(len(labels))) is None


@given(st.data(), name_lists)
def test_a_set_found_in_data_does_not_depend_on_the_order_of_appearance(data: st.DataObject, names: list[str]) -> None:
    shuffled = data.draw(st.permutations(names + names[:1]))
    assert LabelSet.from_values(shuffled) == LabelSet.from_values(names)
    assert set(LabelSet.from_values(shuffled)) == set(names)


def test_whole_numbers_found_in_data_are_ordered_by_value() -> None:
    assert LabelSet.from_values(["10", "9", "1", "9"]).names == ("1", "9", "10")


def test_names_found_in_data_are_ordered_alphabetically_even_beside_numbers() -> None:
    assert LabelSet.from_values(["b", "10", "9", "a"]).names == ("10", "9", "a", "b")


def test_a_name_that_is_a_number_wins_over_the_position() -> None:
    labels = LabelSet(names=("1", "0"))
    assert (labels.id_of("0"), labels.id_of("1")) == (1, 0)


@pytest.mark.parametrize("value", ["", "Biologie", "biology", " Biology", "19", "-1", "1.0", "²", "None"])
def test_a_value_that_is_neither_name_nor_id_is_not_found(value: str) -> None:
    assert MAG.find(value) is None


def test_an_unknown_label_is_refused_with_the_known_ones() -> None:
    labels = LabelSet(names=("art", "law"))
    with pytest.raises(LabelError, match="unknown label 'music'; expected one of art, law"):
        labels.id_of("music")


@pytest.mark.parametrize("values", [[], ["one"], ["one", "one"]])
def test_fewer_than_two_labels_are_refused(values: list[str]) -> None:
    with pytest.raises(LabelError, match="at least two labels"):
        LabelSet.from_values(values)


def test_a_label_that_stands_twice_is_refused_by_name() -> None:
    with pytest.raises(LabelError, match="got twice: a, c"):
        LabelSet(names=("c", "a", "b", "a", "c"))


@pytest.mark.parametrize("empty", ["", " ", "\t"])
def test_an_empty_label_name_is_refused(empty: str) -> None:
    with pytest.raises(LabelError, match="a label name is empty"):
        LabelSet(names=("a", empty))


def test_the_built_in_sets_have_the_sizes_of_scidocs() -> None:
    assert (len(MESH), len(MAG)) == (11, 19)


def test_the_built_in_ids_are_those_of_scidocs() -> None:
    assert MESH.id_of("Neoplasms (cancer)") == 9
    assert MAG.id_of("Sociology") == 18


def test_a_number_outside_a_numeric_label_set_is_no_position() -> None:
    labels = LabelSet(names=("1", "2", "3"))
    assert labels.find("0") is None
    assert labels.find("1") == 0


def test_equal_numbers_are_ordered_by_their_spelling() -> None:
    assert LabelSet.from_values(["1", "01", "001"]).names == ("001", "01", "1")


def test_a_huge_number_is_no_label() -> None:
    assert LabelSet(names=("a", "b")).find("9" * 5000) is None
