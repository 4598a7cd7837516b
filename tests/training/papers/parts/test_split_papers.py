import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from specter_batch.cli import main
from specter_batch.errors import ConfigError, LabelError, PaperSchemaError
from specter_batch.storage.files import file_sha256
from specter_batch.training.demo.sample import SamplePaths, make_papers
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.papers.parts.account import SplitAccount, SplitSettings
from specter_batch.training.papers.parts.split import split_papers

PARTS = ("train", "val", "test")


def sample(n: int = 400) -> pa.Table:
    """Papers whose texts differ, with a journal, a list of authors and a number."""
    papers = make_papers(n_papers=n)
    rows = range(papers.num_rows)
    unlike = [
        f"{title} {' '.join(f'x{i}y{j}' for j in range(40))}" for i, title in enumerate(papers["title"].to_pylist())
    ]
    papers = papers.set_column(papers.schema.get_field_index("title"), "title", pa.array(unlike))
    papers = papers.append_column("journal", pa.array([f"Journal {i % 60}" for i in rows]))
    authors = pa.array([[f"Author {i}", f"Author {i + (i % 3 == 0)}"] for i in rows])
    return papers.append_column("authors", authors).append_column("number", pa.array(rows))


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    pq.write_table(sample(), tmp_path / "papers.parquet")
    return tmp_path / "papers.parquet"


def numbers(out: Path) -> dict[str, list[int]]:
    return {part: pq.read_table(out / f"{part}.parquet")["number"].to_pylist() for part in PARTS}


def test_every_paper_is_in_one_part_with_all_its_columns(papers: Path, tmp_path: Path) -> None:
    account = split_papers(papers, tmp_path / "out", SplitSettings())
    found = numbers(tmp_path / "out")
    whole = pq.read_table(papers)
    assert sorted(number for rows in found.values() for number in rows) == whole["number"].to_pylist()
    assert {part: len(rows) for part, rows in found.items()} == {"train": 280, "val": 40, "test": 80}
    for part in PARTS:
        table = pq.read_table(tmp_path / "out" / f"{part}.parquet")
        assert table.equals(whole.take(table["number"]).select(table.column_names))
        assert account.parts[part].sha256 == file_sha256(tmp_path / "out" / f"{part}.parquet")
        assert account.parts[part].papers == table.num_rows
        counts = dict(pc.value_counts(table["label"]).to_pylist() and [
            (one["values"], one["counts"]) for one in pc.value_counts(table["label"]).to_pylist()
        ])  # fmt: skip
        assert {one.label: getattr(one, part) for one in account.labels} == counts
    assert SplitAccount.model_validate_json((tmp_path / "out/split.json").read_bytes()) == account


def test_equal_and_nearly_equal_texts_are_in_one_part(tmp_path: Path) -> None:
    whole = sample()
    shouted = whole.slice(0, 60).set_column(
        1, "title", pa.array([f"{title.upper()}!" for title in whole["title"].to_pylist()[:60]])
    )
    edited = whole.slice(60, 60).set_column(
        1, "title", pa.array([f"{title} (erratum)" for title in whole["title"].to_pylist()[60:120]])
    )
    assert whole.column_names[1] == "title"
    copies = pa.concat_tables([shouted, edited])
    pq.write_table(pa.concat_tables([whole, copies]), tmp_path / "papers.parquet")
    account = split_papers(tmp_path / "papers.parquet", tmp_path / "out", SplitSettings())
    found = {number: part for part, rows in numbers(tmp_path / "out").items() for number in rows}
    for part, rows in numbers(tmp_path / "out").items():
        assert all(found[number] == part for number in rows)  # both copies of a paper
    assert (account.together.equal_texts, account.together.near_equal_texts) == (60, 60)
    train, test = (read_labelled(tmp_path / "out" / f"{part}.parquet") for part in ("train", "test"))
    assert not test.seen_by(train.seen_hashes()).any()
    alone = split_papers(tmp_path / "papers.parquet", tmp_path / "equal", SplitSettings(near_duplicates=1.0))
    assert (alone.together.equal_texts, alone.together.near_equal_texts) == (60, 0)


@pytest.mark.parametrize("column", ["journal", "authors"])
def test_papers_of_a_group_are_in_one_part(papers: Path, tmp_path: Path, column: str) -> None:
    split_papers(papers, tmp_path / "out", SplitSettings(group_columns=(column,)))
    parts_of: dict[str, set[str]] = {}
    for part in PARTS:
        for value in pq.read_table(tmp_path / "out" / f"{part}.parquet")[column].to_pylist():
            for name in [value] if isinstance(value, str) else value:
                parts_of.setdefault(name, set()).add(part)
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert {part for parts in parts_of.values() for part in parts} == set(PARTS)


def test_a_group_with_most_papers_is_said(tmp_path: Path) -> None:
    whole = sample()
    collaboration = pa.array(["LHC" if i < 260 else f"Group {i}" for i in range(400)])
    pq.write_table(whole.append_column("group", collaboration), tmp_path / "papers.parquet")
    account = split_papers(tmp_path / "papers.parquet", tmp_path / "out", SplitSettings(group_columns=("group",)))
    assert account.together.largest_set == 260
    assert any(
        "the values of group and texts that are alike connect 260 papers (65.0 %)" in one for one in account.notes
    )
    assert set(range(260)) <= set(numbers(tmp_path / "out")["train"])


def test_one_group_of_all_papers_leaves_no_test_papers(tmp_path: Path) -> None:
    pq.write_table(sample().append_column("group", pa.array(["all"] * 400)), tmp_path / "papers.parquet")
    with pytest.raises(ConfigError, match=r"no paper is left for val.parquet: 400 papers are 1 sets"):
        split_papers(tmp_path / "papers.parquet", tmp_path / "out", SplitSettings(group_columns=("group",)))
    assert not (tmp_path / "out").exists()


def test_rows_that_cannot_be_used_are_listed_and_rare_labels_are_said(tmp_path: Path) -> None:
    whole = sample().to_pylist()
    whole[3]["label"], whole[5]["abstract"], whole[7]["title"] = None, "  ", None
    whole[9]["label"], whole[11]["label"] = "Rare", " Rare "
    pq.write_table(pa.Table.from_pylist(whole), tmp_path / "papers.parquet")
    account = split_papers(tmp_path / "papers.parquet", tmp_path / "out", SplitSettings())
    left_out = pq.read_table(tmp_path / "out/left_out.parquet").to_pylist()
    assert [(one["row"], one["reason"]) for one in left_out] == [
        (3, "missing_label"), (5, "missing_abstract"), (7, "missing_title")
    ]  # fmt: skip
    assert account.left_out == {"missing_label": 1, "missing_abstract": 1, "missing_title": 1}
    assert account.rows == 400
    rare = next(one for one in account.labels if one.label == "Rare")
    assert rare.papers == 2
    assert rare.train >= 1
    notes = " ".join(account.notes)
    assert "has no paper of 'Rare'" in notes
    assert "the label ' Rare ' (1 papers) is read as 'Rare'" in notes


def test_files_with_other_columns_and_labels_in_folder_names_are_joined(tmp_path: Path) -> None:
    whole = sample().drop_columns(["authors"])
    for number, (label, extra) in enumerate((("Asthma", "doi"), ("Cancer", "year"))):
        folder = tmp_path / f"papers/label={label}"
        folder.mkdir(parents=True)
        part = whole.slice(200 * number, 200).drop_columns(["label"])
        pq.write_table(part.append_column(extra, pa.array([number] * 200)), folder / "part.parquet")
    account = split_papers(tmp_path / "papers", tmp_path / "out", SplitSettings())
    table = pq.read_table(tmp_path / "out/train.parquet")
    assert {"label", "doi", "year", "journal"} <= set(table.column_names)
    assert [(one.label, one.papers) for one in account.labels] == [("Asthma", 200), ("Cancer", 200)]
    assert list(account.inputs) == ["label=Asthma/part.parquet", "label=Cancer/part.parquet"]
    assert set(table.filter(pc.equal(table["label"], "Asthma"))["year"].to_pylist()) == {None}


def test_the_same_split_is_made_again_and_another_one_is_refused(
    papers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["split", str(papers), str(tmp_path / "out"), "--val", "0.2", "--group-column", "journal"]

    def run(*more: str) -> int:
        with pytest.raises(SystemExit) as raised:
            main([*words, *more])
        return int(raised.value.code or 0)

    assert run() == 0
    shown = capsys.readouterr().out
    assert "all labels" in shown
    assert f"next: specter-batch train {tmp_path}/out/train.parquet" in shown
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert run("--json") == 0
    assert json.loads(capsys.readouterr().out)["parts"]["val"]["share"] == 0.2
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    assert run("--seed", "1") == 1
    assert "holds another split" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    assert run("--seed", "1", "--replace") == 0
    assert (tmp_path / "out/train.parquet").read_bytes() != before["train.parquet"]
    assert {one.name for one in tmp_path.iterdir()} == {"papers.parquet", "out"}


def test_a_share_of_zero_gives_no_file(papers: Path, tmp_path: Path) -> None:
    account = split_papers(papers, tmp_path / "out", SplitSettings(test=0.0))
    assert not (tmp_path / "out/test.parquet").exists()
    assert account.parts["test"].sha256 is None
    assert account.parts["val"].papers == 40


@pytest.mark.parametrize(("val", "test"), [("0.9", "0.3"), ("0", "0")])
def test_shares_without_training_or_other_papers_are_wrong_usage(
    papers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], val: str, test: str
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["split", str(papers), str(tmp_path / "out"), "--val", val, "--test", test])
    assert raised.value.code == 2
    assert "their sum must be above 0 and below 1" in capsys.readouterr().err


def test_inputs_that_hold_no_labelled_papers_are_refused(tmp_path: Path, sample_paths: SamplePaths) -> None:
    (tmp_path / "papers.csv").write_text("title,abstract,label\nA,B,C\n")
    with pytest.raises(PaperSchemaError, match="ingest"):
        split_papers(tmp_path / "papers.csv", tmp_path / "out", SplitSettings())
    unlabelled = pq.read_table(sample_paths.train)
    position = unlabelled.schema.get_field_index("label")
    nulls = pa.nulls(unlabelled.num_rows, pa.string())
    pq.write_table(unlabelled.set_column(position, "label", nulls), tmp_path / "unlabelled.parquet")
    with pytest.raises(LabelError, match="missing_label"):
        split_papers(tmp_path / "unlabelled.parquet", tmp_path / "out", SplitSettings())
    assert not (tmp_path / "out").exists()


def test_columns_of_any_type_are_written(tmp_path: Path) -> None:
    whole = sample()
    values: dict[pa.DataType, object] = {
        pa.string_view(): "a",
        pa.binary_view(): b"a",
        pa.large_string(): "a",
        pa.null(): None,
        pa.map_(pa.string(), pa.string_view()): [("a", "b")],
        pa.list_(pa.string_view()): ["a"],
        pa.struct([("name", pa.string_view())]): {"name": "a"},
        pa.list_(pa.struct([("names", pa.large_list(pa.string_view()))])): [{"names": ["a"]}],
        pa.dictionary(pa.int32(), pa.string()): "a",
    }
    for number, (kind, value) in enumerate(values.items()):
        whole = whole.append_column(f"c{number}", pa.array([None, *[value] * (whole.num_rows - 1)], kind))
    groups = pa.array([str(number // 2) for number in range(whole.num_rows)], pa.string_view())
    whole = whole.append_column("group", groups)
    pq.write_table(whole, tmp_path / "papers.parquet")
    split_papers(tmp_path / "papers.parquet", tmp_path / "out", SplitSettings(group_columns=("group",)))
    written = pa.concat_tables(pq.read_table(tmp_path / f"out/{part}.parquet") for part in ("train", "val", "test"))
    assert written.column_names == whole.column_names
    for number, value in enumerate(values.values()):
        assert [one for one in written[f"c{number}"].to_pylist() if one != value] == [None] * (value is not None)


def test_papers_that_cannot_be_written_together_are_an_error_that_names_the_column(tmp_path: Path) -> None:
    whole = sample(100)
    twice = pa.table([*whole.columns, whole["number"]], names=[*whole.column_names, "number"])
    labelled = whole.set_column(whole.schema.get_field_index("label"), "label", pa.array(["Mathematics"] * 100))
    for name, tables, told in (
        ("twice", [twice], "has 2 columns named number"),
        ("label", [labelled], "all papers have the label 'Mathematics', and a model needs at least two"),
        (
            "types",
            [whole.append_column("x", pa.array([value] * 100)) for value in (2**60, 0.5)],
            "the column x cannot become double",
        ),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for number, table in enumerate(tables):
            pq.write_table(table, folder / f"{number}.parquet")
        with pytest.raises((PaperSchemaError, LabelError), match=told):
            split_papers(folder, tmp_path / "out", SplitSettings())
        assert not (tmp_path / "out").exists()
