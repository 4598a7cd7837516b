from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from specter_batch.errors import ConfigError, LabelError
from specter_batch.papers.columns import PAPER_SCHEMA
from specter_batch.papers.labels import LabelSet
from specter_batch.training.papers.labelled import LabelledPapers
from specter_batch.training.papers.split import check_split

LABELS = LabelSet(names=("gout", "stroke", "ulcer"))
NOTHING = np.zeros(0, dtype=np.uint64)


def papers(texts: Sequence[str], labels: Sequence[str], *, source: str = "train") -> LabelledPapers:
    rows = [
        {"paper_id": str(i), "title": text, "abstract": f"About {text}.", "label": label}
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    return LabelledPapers(papers=pa.Table.from_pylist(rows, schema=PAPER_SCHEMA), dropped={}, source=source)


TRAIN = papers(["a", "b", "c", "d", "e", "f"], ["gout", "gout", "stroke", "stroke", "ulcer", "ulcer"])


def val(texts: Sequence[str], labels: Sequence[str] = ("gout", "stroke", "ulcer")) -> LabelledPapers:
    return papers(texts, labels, source="val")


def test_papers_that_share_nothing_pass_without_a_word() -> None:
    assert check_split(TRAIN, val(["x", "y", "z"]), LABELS, inherited=NOTHING) == ()


def test_some_shared_papers_are_an_error_with_their_number_and_the_option() -> None:
    shared = val(["A!", "y", "z"])
    with pytest.raises(ConfigError, match=r"val: 1 of 3 validation papers are also in train .*--allow-overlap"):
        check_split(TRAIN, shared, LABELS, inherited=NOTHING)
    (note,) = check_split(TRAIN, shared, LABELS, inherited=NOTHING, allow_overlap=True)
    assert note.startswith("val: 1 of 3 validation papers are also in train")
    assert note.endswith("the validation score leaves them out")


def test_validation_on_the_training_papers_alone_is_a_warning() -> None:
    same = val(["a", "b", "c", "d", "e", "f"], ["gout", "gout", "stroke", "stroke", "ulcer", "ulcer"])
    (note,) = check_split(TRAIN, same, LABELS, inherited=NOTHING)
    assert "6 of 6 validation papers" in note
    assert "there is no validation score" in note


def test_validation_papers_that_are_all_training_papers_leave_no_score() -> None:
    (note,) = check_split(TRAIN, val(["a", "c", "e"]), LABELS, inherited=NOTHING)
    assert "val: 3 of 3 validation papers are also in train" in note
    assert "there is no validation score" in note


def test_papers_that_the_encoder_has_seen_are_a_warning() -> None:
    before = val(["x", "q", "r"]).seen_hashes()
    (note,) = check_split(TRAIN, val(["x", "y", "z"]), LABELS, inherited=before)
    assert "already trained on 1 of 3 validation papers" in note


def test_tiny_and_missing_classes_are_warnings() -> None:
    one = papers(["a", "b", "c", "d"], ["gout", "gout", "stroke", "stroke"])
    single = papers(["a", "b", "c"], ["gout", "gout", "stroke"])
    assert check_split(one, val(["x", "y"], ["gout", "stroke"]), LABELS, inherited=NOTHING) == (
        "train: no paper has the label 'ulcer', so it is never learned",
    )
    found = check_split(single, val(["x"], ["gout"]), LABELS, inherited=NOTHING)
    assert found == (
        "train: labels with only one paper: 'stroke'",
        "train: no paper has the label 'ulcer', so it is never learned",
        "val: no validation paper has the label 'stroke', so nothing shows whether it is learned",
    )


def test_many_classes_are_counted() -> None:
    names = tuple(f"class {i}" for i in range(9))
    train = papers([f"t{i}" for i in range(9)], names)
    (single,) = check_split(train, val([f"v{i}" for i in range(9)], names), LabelSet(names=names), inherited=NOTHING)
    assert single.endswith("'class 4' and 4 more")


def test_a_validation_label_that_no_training_paper_has_is_an_error() -> None:
    train = papers(["a", "b"], ["gout", "stroke"])
    with pytest.raises(LabelError, match=r"val: no training paper has the label ulcer"):
        check_split(train, val(["x"], ["ulcer"]), LABELS, inherited=NOTHING)
    with pytest.raises(LabelError, match=r"val: 1 label is not among the model's: 'ulcers' \(did you mean 'ulcer'\?\)"):
        check_split(train, val(["x"], ["ulcers"]), LABELS, inherited=NOTHING)
