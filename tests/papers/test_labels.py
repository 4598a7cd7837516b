import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.errors import LabelError
from specter_batch.papers.columns import normalise_label, normalise_labels
from specter_batch.papers.labels import MAG, MESH, LabelSet, respelled

# Blanks of many scripts, control characters, and characters that take no room; Python's own idea of a blank is wider
# than ASCII and narrower than this.
BLANKS = " \t\n\r\x00\x1f\x7f\x85\xa0\xad\u1680\u180e\u2003\u200b\u200f\u2028\u202f\u205f\u2060\u3000\ufeff"

words = st.text(st.characters(categories=["L"]), min_size=1).map(lambda name: unicodedata.normalize("NFC", name))
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


@pytest.mark.parametrize("value", ["", "Biologie", "biology", "Bio logy", "19", "-1", "1.0", "²", "None"])
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


blanks = st.text(st.sampled_from(BLANKS), max_size=4)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1), min_size=1), st.data())
def test_blanks_and_the_form_of_letters_do_not_make_another_label(parts: list[str], data: st.DataObject) -> None:
    name = unicodedata.normalize("NFC", " ".join(parts))
    form = data.draw(st.sampled_from(["NFC", "NFD"]))
    written = data.draw(blanks) + unicodedata.normalize(form, name) + data.draw(blanks)
    assert normalise_label(written) == name
    other = "a" if name != "a" else "b"
    labels = LabelSet.from_values([written, name, other])
    assert len(labels) == 2
    assert labels.find(written) == labels.find(name) == labels.names.index(name)


@settings(deadline=None)
@given(anything)
def test_a_label_is_read_the_same_way_again(value: str) -> None:
    read = normalise_label(value)
    assert normalise_label(read) == read
    assert read is None or read in unicodedata.normalize("NFC", value)


@settings(deadline=None)
@given(blanks)
def test_nothing_but_blanks_is_no_label(value: str) -> None:
    assert normalise_label(value) is None


@settings(deadline=None)
@given(st.lists(st.none() | anything, max_size=30))
def test_a_column_is_read_value_by_value(values: list[str | None]) -> None:
    column = pa.chunked_array([pa.array(values[:7], pa.string()), pa.array(values[7:], pa.string())])
    assert normalise_labels(column).to_pylist() == [normalise_label(value) for value in values]


@pytest.mark.parametrize(
    "name", ["two\nlines", "a  b", "\u2764\ufe0f", "\U0001f3f4\U000e0067\U000e007f", "<b>", "e\u0301 x"]
)
def test_what_is_within_a_label_or_seen_at_its_end_stays(name: str) -> None:
    assert normalise_label(name) == unicodedata.normalize("NFC", name)


def test_spellings_that_were_changed_are_named_with_their_papers() -> None:
    said = respelled({"Cancer ": 2, "Cancer": 3, "Aste\u0301nie": 1, "Gout": 5, " ": 4})
    assert said == (
        "the label 'Aste\\u0301nie' (1 papers) is read as 'Ast\u00e9nie'",
        "the label 'Cancer ' (2 papers) is read as 'Cancer'; all of these are one class",
    )


def test_names_of_an_older_model_that_hold_blanks_are_found_as_they_are_and_trimmed() -> None:
    labels = LabelSet(names=("art ", "law", "law "))
    assert (labels.find("art "), labels.find("art"), labels.find(" law "), labels.find("law ")) == (0, 0, None, 2)


def test_the_name_that_was_probably_meant_is_suggested() -> None:
    labels = LabelSet(names=("Neurology", "Oncology"))
    with pytest.raises(LabelError, match=r"unknown label 'neurolgy' \(did you mean 'Neurology'\?\); expected one of"):
        labels.id_of("neurolgy")
    assert labels.described("Physics") == "'Physics'"


def test_names_that_look_alike_are_found() -> None:
    labels = LabelSet(names=("Heart disease", "heart\xa0 disease", "Gout", "\uff27out", "Asthma"))
    assert labels.lookalikes() == (("Heart disease", "heart\xa0 disease"), ("Gout", "\uff27out"))
