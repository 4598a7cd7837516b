from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import ConfigError, LabelError, PaperSchemaError
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.labels import MESH, LabelSet
from specter_batch.training.papers.labelled import label_warnings, read_labelled

TEXTS = {"title": ["Asthma", "Gout", "Stroke"], "abstract": ["On lungs.", "On joints.", "On brains."]}


def write(path: Path, label: Any, **columns: Any) -> Path:
    pq.write_table(pa.table({"paper_id": ["p1", "p2", "p3"], **TEXTS, "label": label, **columns}), path)
    return path


def test_rows_that_cannot_be_scored_are_left_out_and_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", ["x", None, "y"], abstract=["On lungs.", "On joints.", " \n"])
    papers = read_labelled(file)
    assert papers.papers["paper_id"].to_pylist() == ["p1"]
    assert papers.dropped == {"missing_label": 1, "missing_abstract": 1}


def test_a_file_whose_labels_are_all_null_is_a_label_error(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="3 missing_label"):
        read_labelled(write(tmp_path / "a.parquet", pa.nulls(3, pa.string())))


def test_a_file_without_any_abstract_is_a_schema_error(tmp_path: Path) -> None:
    with pytest.raises(PaperSchemaError, match="3 missing_abstract"):
        read_labelled(write(tmp_path / "a.parquet", ["x", "y", "x"], abstract=["", "", ""]))


def test_a_file_without_a_label_column_says_which_columns_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"paper_id": ["p1"], "title": ["t"], "abstract": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(PaperSchemaError, match="no label column among paper_id, title, abstract"):
        read_labelled(tmp_path / "a.parquet")


def test_the_label_column_may_be_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", ["x", "y", "x"], field=["u", "v", "w"])
    assert read_labelled(file, PaperColumns(label="field")).papers["label"].to_pylist() == ["u", "v", "w"]


def test_the_order_of_labels_is_not_their_order_of_appearance(tmp_path: Path) -> None:
    one = read_labelled(write(tmp_path / "a.parquet", ["gout", "asthma", "stroke"]))
    two = read_labelled(write(tmp_path / "b.parquet", ["stroke", "gout", "asthma"]))
    sets = [LabelSet.from_values(papers.papers["label"].to_pylist()) for papers in (one, two)]
    assert sets[0] == sets[1] == LabelSet(names=("asthma", "gout", "stroke"))
    assert one.label_ids(sets[0]).tolist() == [1, 0, 2]


def test_whole_numbers_are_ordered_by_value(tmp_path: Path) -> None:
    papers = read_labelled(write(tmp_path / "a.parquet", [10, 2, 9]))
    labels = LabelSet.from_values(papers.papers["label"].to_pylist())
    assert labels.names == ("2", "9", "10")
    assert papers.label_ids(labels).tolist() == [2, 0, 1]


def test_whole_numbers_are_ids_of_a_named_table(tmp_path: Path) -> None:
    papers = read_labelled(write(tmp_path / "a.parquet", [10, 2, 0]))
    assert papers.label_ids(MESH).tolist() == [10, 2, 0]


def test_labels_that_the_model_does_not_know_are_counted(tmp_path: Path) -> None:
    papers = read_labelled(write(tmp_path / "a.parquet", ["gout", "gout", "asthma"]))
    with pytest.raises(LabelError, match=r"1 label is not among the model's: 'gout' in 2 papers"):
        papers.label_ids(LabelSet(names=("asthma", "stroke")))


def test_the_content_hash_does_not_depend_on_column_types(tmp_path: Path) -> None:
    plain = read_labelled(write(tmp_path / "a.parquet", [1, 2, 3]))
    titles = pa.array(TEXTS["title"]).dictionary_encode()
    typed = read_labelled(write(tmp_path / "b.parquet", pa.array(["1", "2", "3"], pa.large_string()), title=titles))
    assert typed.content_sha256() == plain.content_sha256()


@pytest.mark.parametrize(
    "change", [{"title": ["Asthma", "Gout", "Strokes"]}, {"label": ["x", "y", "y"]}, {"paper_id": ["p1", "p2", "p4"]}]
)
def test_the_content_hash_depends_on_every_column(tmp_path: Path, change: dict[str, list[str]]) -> None:
    before = read_labelled(write(tmp_path / "a.parquet", ["x", "y", "x"]))
    after = read_labelled(write(tmp_path / "b.parquet", **{"label": ["x", "y", "x"], **change}))
    assert after.content_sha256() != before.content_sha256()


def test_seen_hashes_overlook_case_and_punctuation(tmp_path: Path) -> None:
    one = read_labelled(write(tmp_path / "a.parquet", ["x", "y", "x"]))
    shouted = {name: [text.upper().replace(".", " !") for text in texts] for name, texts in TEXTS.items()}
    two = read_labelled(write(tmp_path / "b.parquet", ["x", "y", "x"], **shouted))
    assert np.array_equal(one.seen_hashes(), two.seen_hashes())
    assert len(one.seen_hashes()) == 3


def test_labels_are_read_without_blanks_and_the_spellings_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", ["Aste\u0301nie", "\u200bgout\u00a0", "gout"])
    papers = read_labelled(file)
    assert papers.papers["label"].to_pylist() == ["Ast\u00e9nie", "gout", "gout"]
    assert papers.notes == (
        f"{file}: the label 'Aste\\u0301nie' (1 papers) is read as 'Ast\u00e9nie'",
        f"{file}: the label '\\u200bgout\\xa0' (1 papers) is read as 'gout'; all of these are one class",
    )
    plain = read_labelled(write(tmp_path / "b.parquet", ["Ast\u00e9nie", "gout", "gout"]))
    assert plain.content_sha256() == papers.content_sha256()
    assert plain.notes == ()


def test_a_label_of_invisible_characters_is_missing(tmp_path: Path) -> None:
    papers = read_labelled(write(tmp_path / "a.parquet", ["\u200b\ufeff", "x", "y"]))
    assert papers.dropped == {"missing_label": 1}


def test_labels_that_look_alike_or_are_called_missing_are_warned_about(tmp_path: Path) -> None:
    alike, missing = label_warnings(read_labelled(write(tmp_path / "a.parquet", ["Gout", "gout", "nan"])))
    assert "the labels 'Gout' and 'gout' differ only in case" in alike
    assert "1 papers have the label 'nan'" in missing
    assert label_warnings(read_labelled(write(tmp_path / "b.parquet", ["x", "y", "x"]))) == ()


def test_labels_in_the_names_of_folders_are_read(tmp_path: Path) -> None:
    for folder in ("label=Other%20diseases", "label=__HIVE_DEFAULT_PARTITION__", "label=x"):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"paper_id": ["p1", "p2", "p3"], **TEXTS}), tmp_path / folder / "a.parquet")
    write(tmp_path / "label=x/b.parquet", ["own", "own", "own"])
    papers = read_labelled(tmp_path)
    assert papers.papers["label"].to_pylist() == ["Other diseases"] * 3 + ["x"] * 3 + ["own"] * 3
    assert papers.dropped == {"missing_label": 3}


def test_nothing_is_read_of_an_input_that_is_not_all_there(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ["x", "y", "x"])
    (tmp_path / "b.parquet").symlink_to("/nowhere/b.parquet")
    with pytest.raises(PaperSchemaError, match=r"1 of its entries cannot be read: b\.parquet: is a link to /nowhere"):
        read_labelled(tmp_path)


def test_what_is_ignored_is_noted_unless_its_name_says_so(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ["x", "y", "x"])
    (tmp_path / "_SUCCESS").touch()
    assert read_labelled(tmp_path).notes == ()
    (tmp_path / "README.md").touch()
    (note,) = read_labelled(tmp_path).notes
    assert "not read: README.md (" in note


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([True, False, True]),
        pa.array([1.0, 2.0, None]),
        pa.array([["x"], ["y"], ["x"]]),
        pa.array([{"name": "x"}, {"name": "y"}, {"name": "x"}]),
        pa.array([date(2026, 1, 2)] * 3),
    ],
    ids=["bool", "float", "list", "struct", "date"],
)
def test_a_label_column_of_another_type_is_one_clear_line(tmp_path: Path, labels: pa.Array) -> None:
    file = write(tmp_path / "a.parquet", labels)
    with pytest.raises(PaperSchemaError, match=r"column label should hold text .* or name another .*--label-column"):
        read_labelled(file)


@pytest.mark.parametrize("name", ["none", "NONE", ""])
def test_labels_that_are_not_to_be_read_cannot_be_trained_on(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="reads no labels, and this command needs them"):
        read_labelled(write(tmp_path / "a.parquet", ["x", "y", "x"]), PaperColumns(label=name))
