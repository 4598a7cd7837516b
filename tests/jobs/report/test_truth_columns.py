"""A night does not need true labels, so no label column may stop one or change its labels."""

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specter_batch.errors import PaperSchemaError
from specter_batch.model.bundle import ModelBundle
from specter_batch.papers.columns import PaperColumns
from specter_jobs.dumps.json_values import optional_label
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.records import TableColumns
from specter_jobs.inspect.status import night_status, status_lines
from support.papers_on_disk import RunNight, paper, read_all, write_dump

N_PAPERS = 6

SIMPLE = st.sampled_from(
    [
        pa.bool_(),
        pa.int8(),
        pa.uint64(),
        pa.float16(),
        pa.float32(),
        pa.float64(),
        pa.date32(),
        pa.date64(),
        pa.time64("us"),
        pa.timestamp("ms"),
        pa.timestamp("us", tz="UTC"),
        pa.duration("s"),
        pa.decimal128(10, 0),
        pa.decimal128(10, 2),
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.large_binary(),
        pa.binary(4),
        pa.null(),
    ]
)
TYPES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(lambda kind: pa.struct([("a", kind), ("b", pa.string())])),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
    ),
    max_leaves=3,
)


def value_of(kind: pa.DataType, number: int) -> Any:
    """Return a value of the type; bytes that are not UTF-8 among them."""
    if pa.types.is_null(kind):
        return None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [value_of(kind.value_type, number)] * (number % 3)
    if pa.types.is_struct(kind):
        return {field.name: value_of(field.type, number) for field in kind}
    if pa.types.is_map(kind):
        return [("key", value_of(kind.item_type, number))]
    if pa.types.is_boolean(kind):
        return bool(number % 2)
    if pa.types.is_floating(kind):
        return pa.scalar(float("nan") if number == 0 else number / 2, pa.float32()).cast(kind).as_py()
    if pa.types.is_decimal(kind):
        return Decimal(number)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ["Diabetes", " ", "é", "\u200b", "a\nb", "x" * 300][number % 6]
    if pa.types.is_fixed_size_binary(kind):
        return b"\xff\xfe\x00a"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [b"\xff\xfe", b"", b"Diabetes"][number % 3]
    return pa.scalar(number, pa.int64() if kind.bit_width == 64 else pa.int32()).cast(kind).as_py()


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """Return the place for the labels of the night without any true label."""
    return {}


def without_truth(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the columns that come from the true labels."""
    return [{name: row[name] for name in row if name not in ("true_label", "seen_in_training")} for row in rows]


@given(kind=TYPES, name=st.sampled_from(["label", "labels", "class_label"]), gaps=st.booleans())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_no_type_of_label_column_stops_a_night_or_changes_its_labels(
    night: RunNight, tmp_path_factory: pytest.TempPathFactory, plain: dict[str, Any], kind: pa.DataType, name: str,
    gaps: bool,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("night")
    papers = [paper(i) for i in range(N_PAPERS)]
    table = pq.read_table(write_dump(folder / "plain/a.parquet", papers))
    if not plain:
        night(folder / "plain", out=folder / "expected")
        plain["labels"] = without_truth(read_all(folder / "expected/labels"))
    values = [None if gaps and i % 2 else value_of(kind, i) for i in range(N_PAPERS)]
    (folder / "in").mkdir()
    pq.write_table(table.append_column(name, pa.array(values, kind)), folder / "in/a.parquet")
    result = night(folder / "in", out=folder / "out")
    assert result.exit_code == 0
    assert without_truth(read_all(folder / "out/labels")) == plain["labels"]
    unread = result.report.labels_not_read
    assert unread is None or (unread.files, unread.papers) == (1, N_PAPERS)
    assert night(folder / "in", out=folder / "none", label_column="none").report.labels_not_read is None


@pytest.mark.parametrize("column", ["none", "None", ""])
def test_no_labels_are_read_when_asked_for_none(night: RunNight, tmp_path: Path, column: str) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i, label="never heard of") for i in range(3)])
    assert night(dump).report.unknown_labels == 3
    report = night(dump, out=tmp_path / "none", label_column=column).report
    assert (report.unknown_labels, report.labels_not_read) == (0, None)


def test_labels_that_the_model_does_not_know_are_shown_next_to_the_f1(night: RunNight, tmp_path: Path) -> None:
    known = ModelBundle.open(night(write_dump(tmp_path / "first/a.parquet", [paper(9)])).manifest.bundle.path)
    labels = [known.labels.names[0], "never heard of", "nor of this"]
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i, label=label) for i, label in enumerate(labels)])
    out = tmp_path / "truth"
    assert night(dump, out=out).report.unknown_labels == 2
    sentence = "2 of 3 papers with a true label are not scored, because the model does not know their label"
    assert f"labels   {sentence}" in status_lines(night_status(out))
    for name in ("report.md", "report.html"):
        assert sentence in (out / name).read_text()


def test_many_files_with_such_a_column_give_one_warning(
    night: RunNight, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        table = pq.read_table(write_dump(tmp_path / f"in/{number}.parquet", [paper(number)]))
        pq.write_table(table.append_column("label", pa.array([True])), tmp_path / f"in/{number}.parquet")
    with caplog.at_level(logging.WARNING):
        night(tmp_path / "in")
    assert caplog.messages == ["true labels not read"]
    assert "3 papers have a label that cannot be read" in (tmp_path / "out/report.md").read_text()
    assert "3 papers have a label that cannot be read" in (tmp_path / "out/report.html").read_text()


def test_a_named_column_that_is_missing_still_fails_because_it_may_be_mistyped(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    with pytest.raises(PaperSchemaError, match="no column for label: expected truth"):
        night(dump, label_column="truth")


@pytest.mark.parametrize("value", [True, 1.5, {"name": "x"}, "half \ud83d", [{}]])
def test_an_odd_label_of_a_record_is_left_out(value: object) -> None:
    assert optional_label(value) == (None, True)


@pytest.mark.parametrize(("value", "label"), [(None, None), ("x", "x"), (3, "3"), (["x"], "x"), (["x", "y"], None)])
def test_a_usual_label_of_a_record_is_read(value: object, label: str | None) -> None:
    assert optional_label(value) == (label, False)


def test_formats_with_labels_of_their_own_can_be_read_without() -> None:
    columns = TableColumns(papers=PaperColumns(label="none"))
    assert Format(name="s2orc", columns=columns).label(None) is None
    assert Format(name="s2orc").label(None) == "mag_field_of_study"
    assert Format(name="jsonl", columns=columns).label(None) is None
