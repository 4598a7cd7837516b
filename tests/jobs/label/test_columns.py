"""The columns of label files: what a night can be asked for, and how it gets other columns without the model."""

import hashlib
import json
import logging
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from specter_batch.errors import ConfigError, PaperSchemaError, UsageError
from specter_batch.model.bundle import ModelBundle
from specter_batch.options.command import command
from specter_batch.papers.labels import LabelSet
from specter_batch.papers.parquet import read_table, write_table
from specter_jobs.inspect.verify import verify_night
from specter_jobs.label.answers import Answers
from specter_jobs.output.label_form import LabelForm
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.sections import LabelColumns
from support.former_night import make_former
from support.papers_on_disk import ENGLISH, GERMAN, RunNight, label_bytes, paper, read_all, write_dump

EVERYTHING = {"probabilities": True, "top_k": 3, "keep_columns": ["doi"], "stamp": True}


def dirty_dump(path: Path, *, doi: str = "10.1/") -> Path:
    """Write papers with a copied text, a duplicate id, a reject of each stage, and true labels."""
    papers = [paper(number, doi=f"{doi}{number}", label=str(number % 3)) for number in range(9)]
    papers[4] |= {"title": papers[1]["title"], "abstract": papers[1]["abstract"]}
    papers[5] |= {"paper_id": "p1"}
    papers[6] |= {"abstract": None, "label": None}
    papers[7] |= {"abstract": GERMAN}
    return write_dump(path, papers)


def rows_of(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["file"], row["row"]): row for row in read_all(out / "labels")}


def test_other_columns_in_the_same_folder_ask_the_model_for_nothing(
    night: RunNight, tmp_path: Path, asked: list[int]
) -> None:
    dump, out = dirty_dump(tmp_path / "in/a.parquet"), tmp_path / "out"
    settings = {"shard_rows": 3, "date": "2026-11-25"}
    night(dump, out=tmp_path / "cold", **settings, **EVERYTHING)
    night(dump, **settings)
    plain, asked[:] = label_bytes(out), []
    for columns, expected in (
        (EVERYTHING, tmp_path / "cold"),
        ({"stamp": True}, None),
        (EVERYTHING, tmp_path / "cold"),
    ):
        result = night(dump, **settings, **columns)
        assert result.manifest.this_run.rewritten == 6
        assert verify_night(out).differences == []
        assert expected is None or rows_of(out) == rows_of(expected)
    assert night(dump, **settings, **EVERYTHING).manifest.this_run.rewritten == 0
    night(dump, **settings)
    assert label_bytes(out) == plain
    assert sum(asked) == 0


def test_the_columns_that_are_asked_for_hold_what_they_should(
    night: RunNight, tmp_path: Path, tiny_bundle: Path
) -> None:
    night(dirty_dump(tmp_path / "in/a.parquet"), date="2026-11-25", **EVERYTHING)
    bundle = ModelBundle.open(tiny_bundle)
    for row in read_all(tmp_path / "out/labels"):
        best = sorted(range(len(bundle.labels)), key=lambda label: -row["logits"][label])
        assert row["top_labels"] == [bundle.labels.names[label] for label in best[:3]]
        assert row["top_labels"][:2] == [row["label"], row["runner_up"]]
        assert row["top_scores"] == pytest.approx([row["probabilities"][label] for label in best[:3]], abs=1e-6)
        assert row["margin"] == row["top_scores"][0] - row["top_scores"][1]
        assert row["top_scores"][0] == row["score"]
        assert (row["doi"], row["bundle"], row["night"]) == (
            f"10.1/{row['row']}",
            bundle.fingerprint,
            date(2026, 11, 25),
        )
        assert row["file"] == "a.parquet"
        assert (row["true_label"] is None) == (row["seen_in_training"] is None)


def test_a_former_night_gets_the_new_columns_in_place(
    night: RunNight, tmp_path: Path, asked: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    dump, out = dirty_dump(tmp_path / "in/a.parquet"), tmp_path / "out"
    night(dump, shard_rows=5)
    before = rows_of(out)
    make_former(out)
    assert verify_night(out).differences == []
    asked.clear()
    result = night(dump, shard_rows=5, keep_columns="doi")
    unknown = {"runner_up": None, "margin": None, "logits": None}
    assert len(result.report.gap_sentences) == 2
    assert rows_of(out) == {key: row | unknown | {"doi": f"10.1/{row['row']}"} for key, row in before.items()}
    assert (sum(asked), result.manifest.this_run.rewritten, result.report.without_margin) == (0, 6, 6)
    assert verify_night(out).differences == []
    with caplog.at_level(logging.WARNING):
        result = night(dump, shard_rows=5, top_k=2)
    assert any("logits or vectors that were not stored" in message for message in caplog.messages)
    assert (sum(asked), result.report.without_margin) == (5, 0)
    assert all(len(row["top_labels"]) == 2 for row in read_all(out / "labels"))


def test_labels_without_logits_keep_runner_up_and_margin(
    night: RunNight, tmp_path: Path, asked: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    dump, out = dirty_dump(tmp_path / "in/a.parquet"), tmp_path / "out"
    night(dump, shard_rows=3, logits=False)
    stored = rows_of(out)
    assert all(row["runner_up"] is not None and row["margin"] is not None for row in stored.values())
    asked.clear()
    result = night(dump, shard_rows=3, logits=False, keep_columns="doi")
    assert rows_of(out) == {key: row | {"doi": f"10.1/{row['row']}"} for key, row in stored.items()}
    assert (result.report.without_margin, result.report.without_logits, result.report.gap_sentences) == (0, 0, [])
    with caplog.at_level(logging.WARNING):
        result = night(dump, shard_rows=3)
    assert rows_of(out) == {key: row | {"logits": None} for key, row in stored.items()}
    assert (result.manifest.this_run.rewritten, result.report.without_margin, result.report.without_logits) == (6, 0, 6)
    said = "6 labels have no logits: they come from a night that did not store them"
    assert said in (out / "report.md").read_text() and said in (out / "report.html").read_text()
    assert json.loads((out / "report.json").read_text())["without_logits"] == 6
    assert any("labels lack values" in message for message in caplog.messages)
    lent = night(dump, out=tmp_path / "lent", shard_rows=3, reuse=[out])
    assert rows_of(tmp_path / "lent") == {key: row | {"logits": None, "reused": True} for key, row in stored.items()}
    assert (lent.report.without_margin, lent.report.without_logits) == (0, 6)
    for folder in (out, tmp_path / "lent"):
        assert verify_night(folder).differences == []
    assert sum(asked) == 0


def test_columns_from_stored_probabilities_agree_with_the_stored_score(
    night: RunNight, tmp_path: Path, asked: list[int]
) -> None:
    dump, out = dirty_dump(tmp_path / "in/a.parquet"), tmp_path / "out"
    night(dump, logits=False, probabilities=True)
    stored = rows_of(out)
    asked.clear()
    night(dump, logits=False, probabilities=True, top_k=3)
    for key, row in rows_of(out).items():
        assert row == stored[key] | {name: row[name] for name in ("top_labels", "top_scores")}
        assert row["top_labels"][:2] == [row["label"], row["runner_up"]]
        assert row["top_scores"][0] == row["score"]
        assert row["top_scores"][0] - row["top_scores"][1] == pytest.approx(row["margin"], abs=1e-6)
    assert sum(asked) == 0


def test_probabilities_that_are_equal_when_rounded_leave_the_stored_ranking() -> None:
    form = LabelForm(
        labels=LabelSet(names=("a", "b", "c")),
        logit_divisor=1.0,
        bundle="",
        night=date(2026, 11, 25),
        columns=LabelColumns(),
        kept=pa.schema([]),
        partitions=(),
    )
    score, margin = 1 / 3 + 2e-10, 1e-10
    held = pa.table(
        {
            "label_id": pa.array([2], pa.int32()),
            "score": [score],
            "runner_up": ["b"],
            "margin": [margin],
            "probabilities": pa.array([[1 / 3] * 3], pa.list_(pa.float32(), 3)),
        }
    )
    answers = Answers.empty(1, 3)
    answers.fill_known(np.array([0]), held, form)
    ranking = answers.ranking(k=3)
    assert ranking.label_id.tolist() == [[2, 1, 0]]
    assert ranking.score[0, 0] == score == ranking.score.max()
    assert (answers.runner_up.tolist(), answers.margin.tolist()) == ([1], [margin])


def test_changed_values_of_kept_columns_are_copied_again(night: RunNight, tmp_path: Path, asked: list[int]) -> None:
    dump = dirty_dump(tmp_path / "in/a.parquet")
    night(dump, keep_columns="doi")
    dirty_dump(dump, doi="10.2/")
    asked.clear()
    result = night(dump, keep_columns="doi")
    assert (sum(asked), result.manifest.this_run.rewritten) == (0, 6)
    assert all(row["doi"].startswith("10.2/") for row in read_all(tmp_path / "out/labels"))


def test_a_run_after_midnight_keeps_the_date_of_the_night(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    night(dump, date="2026-11-25", stamp=True)
    for settings, day, rewritten in (({}, 25, 0), ({"date": "2026-11-26"}, 26, 1)):
        result = night(dump, stamp=True, **settings)
        assert [row["night"] for row in read_all(tmp_path / "out/labels")] == [date(2026, 11, day)]
        assert result.manifest.this_run.rewritten == rewritten


def test_kept_columns_and_partitions_have_one_type_in_all_files(night: RunNight, tmp_path: Path) -> None:
    lake = tmp_path / "in"
    for folder, year, kind in (
        ("area=cs/score=high", 2020, pa.int16()),
        ("area=__HIVE_DEFAULT_PARTITION__", 2**40, pa.int64()),
    ):
        (lake / folder).mkdir(parents=True)
        columns = {name: pa.array([value], pa.string()) for name, value in paper(year).items()}
        columns |= {"year": pa.array([year], kind), "logits": pa.array([[0.5]])}
        columns["venue"] = pa.array(["Nature \U0001f52c"]).dictionary_encode()
        pq.write_table(pa.table(columns), lake / folder / "a.parquet")
    (lake / "area=bio").mkdir()
    write_dump(lake / "area=bio/a.parquet", [paper(7)])
    night(lake, keep_columns=["year", "title", "logits", "venue", "area"], shard_rows=1)
    assert verify_night(tmp_path / "out").differences == []
    table = pa.concat_tables([read_table(path) for path in sorted((tmp_path / "out/labels").iterdir())])
    assert table.schema.field("year").type == pa.int64() and table.schema.field("venue").type == pa.string()
    rows = {row["paper_id"]: row for row in table.to_pylist()}
    assert (rows["p2020"]["area"], rows["p2020"]["input_score"], rows["p2020"]["input_logits"]) == ("cs", "high", [0.5])
    assert (rows["p7"]["area"], rows["p7"]["year"], rows["p7"]["venue"]) == ("bio", None, None)
    assert (rows[f"p{2**40}"]["area"], rows[f"p{2**40}"]["year"]) == (None, 2**40)
    assert rows["p7"]["title"] == paper(7)["title"]


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (pa.string_view(), pa.large_string(), "a"),
        (pa.binary_view(), pa.large_binary(), b"a"),
        (pa.list_(pa.string_view()), pa.list_(pa.large_string()), ["a"]),
        (pa.struct([("name", pa.string_view())]), pa.struct([("name", pa.large_string())]), {"name": "a"}),
    ],
    ids=str,
)
def test_columns_of_view_types_are_kept(
    night: RunNight, tmp_path: Path, kind: pa.DataType, written: pa.DataType, value: object
) -> None:
    table = pa.Table.from_pylist([paper(number) for number in range(6)])
    values = pa.array([value, None, value, None, value, value], kind)
    (tmp_path / "in").mkdir()
    pq.write_table(table.append_column("extra", values), tmp_path / "in" / "a.parquet")
    night(tmp_path / "in", shard_rows=4, keep_columns="extra")
    labels = pa.concat_tables(read_table(file) for file in sorted((tmp_path / "out" / "labels").iterdir()))
    assert labels["extra"].type == written
    assert labels["extra"].to_pylist() == values.to_pylist()


def test_columns_that_cannot_be_kept_are_refused_with_advice(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1, journal="x")])
    with pytest.raises(PaperSchemaError, match=r"--keep-columns journals: .*did you mean journal\?.*paper_id, title"):
        night(dump, keep_columns="journals")
    pq.write_table(
        pa.table({name: [value] for name, value in paper(2).items()} | {"journal": [{"name": "x"}]}),
        tmp_path / "in/b.parquet",
    )
    with pytest.raises(PaperSchemaError, match=r"string in a\.parquet and struct<.*> in b\.parquet"):
        night(tmp_path / "in", keep_columns="journal")
    with pytest.raises(ConfigError, match=r"--top-k 99: the bundle has only \d+ labels"):
        night(dump, top_k=99)
    assert not (tmp_path / "out/labels").exists() or not list((tmp_path / "out/labels").iterdir())


def kept_pair(folder: Path, *values: pa.Array) -> Path:
    """Write a file with one paper for each value, which is in the column `extra`."""
    folder.mkdir(parents=True)
    for number, value in enumerate(values):
        columns = {name: pa.array([text], pa.string()) for name, text in paper(number).items()}
        pq.write_table(pa.table(columns | {"extra": value}), folder / f"{number}.parquet")
    return folder


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([2**53 + 1]), pa.array([0.5])),
        (pa.array([2**63], pa.uint64()), pa.array([-1])),
        (pa.array([1], pa.uint8()), pa.array([-1], pa.int16())),
        (pa.array([Decimal(5)], pa.decimal128(5, 0)), pa.array([10**18])),
        (pa.array([Decimal(5)], pa.decimal128(5, 0)), pa.array([Decimal("0.5")], pa.decimal128(9, 1))),
        (
            pa.array([[2**53 + 1]], pa.list_(pa.field("element", pa.int64()))),
            pa.array([[0.5]], pa.list_(pa.field("element", pa.float64()))),
        ),
        (pa.array([True]), pa.array([2])),
        (pa.array([0], pa.timestamp("ms")), pa.array([0], pa.date32())),
        (pa.array(["x"]), pa.array([b"x"])),
    ],
    ids=lambda values: str(values.type),
)
def test_types_of_which_none_holds_all_values_are_refused_before_any_work(
    night: RunNight, tmp_path: Path, one: pa.Array, other: pa.Array
) -> None:
    found = f"{one.type} in 0.parquet and {other.type} in 1.parquet, and no type holds every value of both; write it"
    with pytest.raises(PaperSchemaError, match=re.escape(f"--keep-columns extra: the column is {found}")):
        night(kept_pair(tmp_path / "in", one, other), keep_columns="extra")
    assert not list((tmp_path / "out").glob("labels/*"))


@pytest.mark.parametrize(
    ("values", "common"),
    [
        ([pa.array([1], pa.int8()), pa.array([2**60]), pa.nulls(1)], pa.int64()),
        ([pa.array([1], pa.uint8()), pa.array([2**64 - 1], pa.uint64())], pa.uint64()),
        ([pa.array([0.1], pa.float32()), pa.array([0.1], pa.float64())], pa.float64()),
        ([pa.nulls(1), pa.array(["x"]), pa.array(["y"], pa.large_string())], pa.large_string()),
        (
            [pa.array([Decimal("1.5")], pa.decimal128(5, 1)), pa.array([Decimal(10**17)], pa.decimal128(19, 1))],
            pa.decimal128(19, 1),
        ),
        ([pa.array([[]], pa.list_(pa.null())), pa.array([[1]], pa.list_(pa.int8()))], pa.list_(pa.int8())),
        ([pa.array([0], pa.date32()), pa.array([9], pa.date32())], pa.date32()),
    ],
    ids=lambda values: str(values) if isinstance(values, pa.DataType) else "",
)
def test_values_of_several_types_are_kept_exactly(
    night: RunNight, tmp_path: Path, values: list[pa.Array], common: pa.DataType
) -> None:
    night(kept_pair(tmp_path / "in", *values), keep_columns="extra")
    (file,) = {path.parent for path in (tmp_path / "out/labels").iterdir()}
    table = pa.concat_tables([read_table(path) for path in sorted(file.iterdir())]).sort_by("file")
    assert table["extra"].type == common
    assert table["extra"].to_pylist() == [value[0].as_py() for value in values]


def test_a_conversion_says_which_columns_it_keeps(night: RunNight, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"paper_id,title,abstract,extra\np1,A title,{ENGLISH},x\n")
    kept = "paper_id, title, abstract, label, source, year"
    with pytest.raises(PaperSchemaError, match=rf"extra: .* csv dump keeps only the columns {kept}; .*parquet"):
        night(tmp_path / "a.csv", format="csv", keep_columns="extra")
    assert not (tmp_path / "out/ingested").exists()
    night(tmp_path / "a.csv", format="csv", keep_columns="source")
    assert rows_of(tmp_path / "out").popitem()[1]["source"]


def test_names_in_a_list_are_exact_and_one_text_is_split(night: RunNight, tmp_path: Path) -> None:
    odd = {"a,b": "1", " sp ": "2", "Label": "3", "doi": "4", "DOI": "5"}
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1, **odd)])
    settings = tmp_path / "night.toml"
    settings.write_text('keep_columns = ["a,b", " sp ", "Label", "doi", "DOI"]')
    night(dump, keep_columns=NightConfig.load(settings, {"dump": "x", "out": "y", "bundle": "z"}).keep_columns)
    (row,) = read_all(tmp_path / "out/labels")
    assert [row[name] for name in ("a,b", " sp ", "input_Label", "doi", "input_DOI")] == ["1", "2", "3", "4", "5"]
    assert NightConfig.load(None, {"dump": "x", "out": "y", "bundle": "z", "keep_columns": "a, b"}).keep_columns == (
        "a",
        "b",
    )


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["--keep-columns", "year, doi"], ("year", "doi")),
        (["--keep-columns", "year", "--keep-columns", "doi,a"], ("year", "doi", "a")),
        ([], ()),
        (["--keep-columns", ""], "--keep-columns: a name is empty"),
        (["--keep-columns", "year,,doi"], "--keep-columns: a name is empty"),
    ],
)
def test_commas_on_the_command_line_separate_names(given: list[str], found: Any) -> None:
    read: list[tuple[str, ...]] = []

    @command()
    def one(columns: LabelColumns) -> None:
        """Read the columns."""
        read.append(columns.keep_columns)

    app = typer.Typer()
    app.command()(one)
    result = CliRunner().invoke(app, given)
    if isinstance(found, str):
        assert isinstance(result.exception, UsageError) and found in str(result.exception)
    else:
        assert read == [found], result.output


def test_very_large_kept_values_are_copied(night: RunNight, tmp_path: Path) -> None:
    papers = [paper(number, body="x" * (3 << 20) + str(number)) for number in range(4)]
    night(write_dump(tmp_path / "in/a.parquet", papers), keep_columns="body", shard_rows=2)
    assert [row["body"][-1] for row in read_all(tmp_path / "out/labels")] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("row", lambda rows: [rows[1], *rows[1:]], "not every row of the input is there once"),
        ("file", lambda files: ["b.parquet", *files[1:]], "column file should be a.parquet"),
        ("margin", lambda margins: [margins[0] / 2, *margins[1:]], "does not follow from the logits: column margin"),
        ("runner_up", lambda names: [None, *names[1:]], "not null in the same rows"),
        ("label_id", lambda ids: [(ids[0] + 1) % 3, *ids[1:]], "does not follow from the logits: column label_id"),
    ],
    ids=["row", "file", "margin", "runner_up", "label_id"],
)
def test_verify_finds_labels_that_cannot_be_right(
    night: RunNight, tmp_path: Path, column: str, change: Callable[[list[Any]], list[Any]], message: str
) -> None:
    night(dirty_dump(tmp_path / "in/a.parquet"))
    (file,) = (tmp_path / "out/labels").iterdir()
    table = read_table(file)
    place = table.column_names.index(column)
    changed = pa.array(change(table[column].to_pylist()), table.schema.field(column).type)
    write_table(file, table.set_column(place, table.schema.field(column), changed))
    ledger = tmp_path / "out/ledger.jsonl"
    entry = json.loads(ledger.read_text())
    content = file.read_bytes()
    entry["labels"] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    ledger.write_text(json.dumps(entry) + "\n")
    assert any(message in difference for difference in verify_night(tmp_path / "out").differences)
