import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.errors import BusyError, ConfigError, ShardError, UsageError
from specter_jobs import compare_nights, read_night
from specter_jobs.inspect.read import NightWarning
from specter_jobs.output.folder import output_folder
from specter_jobs.output.schema import FORMER_LABEL_SCHEMA
from support.former_night import make_former
from support.papers_on_disk import GERMAN, RunNight, paper, write_dump
from support.servers.s3_server import S3Server
from support.written_nights import LABELS, Row, WrittenNight, expected_rows, write_night

ids = st.sampled_from([None, "", "a", "b", "c"])
texts = st.sampled_from(["A title", "題名", "عنوان", "x" * 300])
outcomes = st.sampled_from(["labelled"] * 4 + ["reused", "rejected", "rejected", "failed"])
row_lists = st.lists(
    st.builds(
        Row,
        paper_id=ids,
        title=texts,
        status=outcomes,
        label=st.sampled_from(LABELS),
        score=st.floats(0, 1),
        true_label=st.sampled_from([None, *LABELS]),
    ),
    max_size=12,
)


def rows_of(night: Path | str, **options: Any) -> list[dict[str, Any]]:
    return read_night(night, as_="arrow", **options).to_pylist()  # type: ignore[no-any-return]


@pytest.fixture
def written(tmp_path: Path) -> WrittenNight:
    """Return a night of two files: labels, rejects, an id in several rows, and a row without an id."""
    first = [
        Row(paper_id="a", title="First", label="Bio", true_label="Chem"),
        Row(paper_id="b", title="Second", status="rejected", reason="not_english", detail="german"),
        Row(paper_id="a", title="Third", status="rejected", reason="duplicate_id"),
        Row(paper_id=None, title="Fourth", status="rejected", reason="null_id"),
        Row(paper_id="c", title="Fifth", status="reused"),
    ]
    return write_night(tmp_path, {"a.parquet": first, "sub/b.parquet": [Row(paper_id="d", title="Sixth")]})


@settings(max_examples=40, deadline=None)
@given(
    files=st.lists(row_lists, min_size=1, max_size=3),
    shard_rows=st.integers(1, 5),
    row_group_size=st.integers(1, 5),
    former=st.booleans(),
)
def test_each_row_of_the_input_comes_once_and_with_its_own_label(
    files: list[list[Row]], shard_rows: int, row_group_size: int, former: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = write_night(
            Path(folder),
            {f"{number}.parquet": rows for number, rows in enumerate(files)},
            shard_rows=shard_rows,
            row_group_size=row_group_size,
            columns=FORMER_LABEL_SCHEMA.names if former else None,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = rows_of(written.out, paper_columns=["year"])
    expected = expected_rows(written)
    assert [(row["file"], row["row"]) for row in found] == [(file, number) for file, number, _ in expected]
    for row, (_, number, wanted) in zip(found, expected, strict=True):
        has_label, is_rejected = wanted.status in ("labelled", "reused"), wanted.status == "rejected"
        assert (row["paper_id"], row["title"], row["year"]) == (wanted.paper_id, wanted.title, 2000 + number)
        assert (row["status"], row["true_label"]) == (wanted.status, wanted.true_label)
        assert row["label"] == (wanted.label if has_label else None)
        assert row["score"] == (wanted.score if has_label else None)
        assert row["text_hash"] == (wanted.text_hash if has_label else None)
        assert row["reject_reason"] == (wanted.reason if is_rejected else None)


@pytest.fixture
def real_night(night: RunNight, tmp_path: Path) -> Path:
    """Return the output of a real night with labelled, reused, rejected and failed rows."""
    papers = [paper(number) for number in range(12)]
    papers[1] = paper(1, title=None)
    papers[2] = paper(2, abstract=GERMAN)
    papers[3] = paper(0, paper_id="copy")
    path = write_dump(tmp_path / "in/a.parquet", papers, row_group_size=4)
    start = pq.ParquetFile(path).metadata.row_group(1).column(2).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    night(path, shard_rows=4)
    return tmp_path / "out"


def test_a_real_night_adds_up_to_its_report(real_night: Path) -> None:
    with pytest.warns(NightWarning, match="4 rows have no title here"):  # of the row group that cannot be decoded
        found = read_night(real_night)
    report = json.loads((real_night / "report.json").read_text())
    counts = found["status"].value_counts().to_dict()
    assert counts == {name: report["rows"][name] for name in ("labelled", "reused", "rejected", "failed")}
    assert min(counts.values()) >= 1
    assert len(found) == report["rows"]["in"]
    assert found["title"].notna().sum() == 7  # the rejected paper of row 1 has none
    assert (found[found["status"] == "failed"]["reject_detail"].str.len() > 0).all()
    assert found["label_id"].dtype == "Int32"


def test_a_night_of_an_older_version_has_the_same_rows(night: RunNight, tmp_path: Path) -> None:
    papers = [paper(1), paper(2, title=None), paper(1), paper(3), paper(4, abstract=GERMAN), paper(5)]
    night(write_dump(tmp_path / "in/a.parquet", papers), shard_rows=4)
    before = rows_of(tmp_path / "out")
    assert before[0]["margin"] is not None
    make_former(tmp_path / "out")
    unknown = {"runner_up": None, "margin": None, "seen_in_training": None}
    assert rows_of(tmp_path / "out") == [row | unknown for row in before]


def test_a_night_in_a_store_is_read_as_one_on_a_disk(written: WrittenNight, s3: S3Server) -> None:
    place = s3.upload(written.out, "night")
    with warnings.catch_warnings():
        warnings.simplefilter("error", NightWarning)
        assert rows_of(str(place)) == rows_of(written.out)


def test_a_night_of_a_dump_has_its_papers_and_the_records_that_were_rejected(night: RunNight, tmp_path: Path) -> None:
    lines = [json.dumps(paper(number)) for number in range(5)]
    lines[3] = "{"
    (tmp_path / "papers.jsonl").write_text("".join(f"{line}\n" for line in lines))
    report = night(tmp_path / "papers.jsonl", format="jsonl").report
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    found = rows_of(moved)
    assert len(found) == report.rows.rows_in == 5
    assert [row["title"] for row in found[:4]] == [f"Outcomes of trial number {number}" for number in (0, 1, 2, 4)]
    assert (found[4]["status"], found[4]["reject_reason"], found[4]["row"]) == ("rejected", "malformed_record", 4)


def test_every_kind_of_table_has_the_same_rows(written: WrittenNight) -> None:
    table = read_night(written.out, as_="arrow")
    assert read_night(written.out, as_="batches").read_all().to_pylist() == table.to_pylist()
    assert read_night(written.out, as_="polars").to_dicts() == table.to_pylist()
    frame = read_night(written.out)
    assert isinstance(frame, pd.DataFrame)
    assert frame["paper_id"].tolist()[:3] == ["a", "b", "a"]
    assert list(frame.columns)[:7] == ["file", "row", "paper_id", "title", "abstract", "status", "label"]


def test_columns_are_chosen_by_name_and_bulky_ones_come_only_then(tmp_path: Path) -> None:
    written = write_night(tmp_path, {"a.parquet": [Row()]})
    (file,) = (written.out / "labels").iterdir()
    logits = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0], pa.float32()), 2)
    table = pq.read_table(file).append_column("logits", logits).append_column("status", pa.array(["kept"]))
    pq.write_table(table, file)
    (row,) = rows_of(written.out)
    assert "logits" not in row
    assert (row["status"], row["input_status"]) == ("labelled", "kept")
    assert rows_of(written.out, columns=["logits", "title"]) == [{"logits": [1.0, 2.0], "title": "A title"}]
    with pytest.raises(UsageError, match="the night has no column embedding; it has file, row"):
        read_night(written.out, columns=["embedding"])


def test_a_column_that_the_night_kept_comes_once_and_the_papers_fill_its_gaps(night: RunNight, tmp_path: Path) -> None:
    papers = [paper(1, year="2001"), paper(2, title=None, year="2002"), paper(3, year="2003")]
    dump = write_dump(tmp_path / "in/a.parquet", papers)
    table = pq.read_table(dump)
    pq.write_table(table.append_column("logits", pa.array([7, 8, 9])), dump)
    night(dump, keep_columns=["title", "year"])
    titles = [one["title"] for one in papers]
    for names in (["title"], ["title", "year", "year", "logits"]):
        found = rows_of(tmp_path / "out", paper_columns=names)
        assert [row["input_title"] for row in found] == titles
        assert list(found[0]).count("input_title") == 1
    assert [row["year"] for row in found] == ["2001", "2002", "2003"]
    assert [row["input_logits"] for row in found] == [7, 8, 9]
    assert [row["year"] for row in rows_of(tmp_path / "out")] == ["2001", None, "2003"]


@pytest.mark.parametrize("value", [None, 3, b"h", ["night"]])
def test_what_is_no_place_is_a_type_error_that_says_what_to_pass(written: WrittenNight, value: Any) -> None:
    with pytest.raises(TypeError, match=r'^night: expected a folder or URL as str or pathlib.Path, got .*night="'):
        read_night(value)
    with pytest.raises(TypeError, match=r"^now: expected a folder or URL"):
        compare_nights(written.out, value)
    if value is not None:
        with pytest.raises(TypeError, match=r"^papers: expected a folder or URL"):
            read_night(written.out, papers=value)


def test_a_single_column_can_be_named_without_a_list(written: WrittenNight) -> None:
    assert list(read_night(written.out, columns="label").columns) == ["label"]
    assert "year" in read_night(written.out, paper_columns="year").columns
    wrong: Any
    for wrong in (3, [3], {"label": 1}):
        with pytest.raises(TypeError, match=r"^columns: expected names of columns, got .*; for example columns=\["):
            read_night(written.out, columns=wrong)


@pytest.mark.parametrize("kind", ["pandas", "batches"])
def test_a_warning_points_at_the_line_of_the_caller(written: WrittenNight, kind: Any) -> None:
    (written.papers / "a.parquet").unlink()
    with pytest.warns(NightWarning) as caught:
        found = read_night(written.out, as_=kind)
        if kind == "batches":
            found.read_all()
    assert [warning.filename for warning in caught] == [__file__]


def test_without_papers_nothing_of_them_is_read(written: WrittenNight) -> None:
    (written.papers / "a.parquet").unlink()
    assert "title" not in rows_of(written.out, papers=False)[0]


def test_papers_that_moved_are_found_by_the_folder_a_glob_or_the_file(written: WrittenNight, tmp_path: Path) -> None:
    before = rows_of(written.out)
    moved = written.papers.rename(tmp_path / "elsewhere")
    assert rows_of(written.out, papers=str(moved)) == before
    assert rows_of(written.out, papers=moved / "*.parquet") == before
    with pytest.warns(NightWarning, match="6 rows have no title here, because 2 of 2 files"):
        assert [row["title"] for row in rows_of(written.out)] == [None] * 6
    with pytest.raises(ConfigError, match=r"has none of the 2 files that the night labelled \(first: a.parquet\)"):
        read_night(written.out, papers=written.out)
    one = write_night(tmp_path / "one", {"a.parquet": [Row()]})
    file = (one.papers / "a.parquet").rename(tmp_path / "other.parquet")
    assert rows_of(one.out, papers=file)[0]["title"] == "A title"


def test_rows_whose_paper_changed_get_no_title_and_are_counted(written: WrittenNight) -> None:
    path = written.papers / "a.parquet"
    table = pq.read_table(path)
    other = pa.array(["Another", *table["title"].to_pylist()[1:]])
    pq.write_table(table.set_column(1, "title", other).slice(0, 4), path)
    with pytest.warns(NightWarning, match=r"2 rows have no title here, because the papers in .* have changed since"):
        found = rows_of(written.out)
    assert [row["title"] for row in found] == [None, "Second", "Third", "Fourth", None, "Sixth"]
    assert [row["label"] for row in found] == ["Bio", None, None, None, "Astro", "Astro"]


def test_a_night_without_rows_has_all_columns(tmp_path: Path) -> None:
    written = write_night(tmp_path, {"a.parquet": []})
    found = read_night(written.out)
    assert len(found) == 0
    assert {"label", "title", "reject_reason"} <= set(found.columns)


def test_a_night_that_was_stopped_has_the_rows_that_are_left(written: WrittenNight) -> None:
    ledger = written.out / "ledger.jsonl"
    ledger.write_text(ledger.read_text().splitlines(keepends=True)[0] + '{"half a li')
    with pytest.raises(ConfigError, match="the ledger lacks 2 of 3 shards, although the night has _SUCCESS"):
        read_night(written.out)
    (written.out / "_SUCCESS").unlink()
    found = rows_of(written.out)
    assert [row["status"] for row in found] == ["labelled", "rejected", "rejected", "failed", "failed", "failed"]
    assert found[4]["paper_id"] == "c"
    assert found[4]["reject_detail"] == "not labelled yet; run the same command again to resume"


def test_a_label_file_that_is_missing_or_short_is_an_error(written: WrittenNight) -> None:
    file = sorted((written.out / "labels").iterdir())[0]
    table = pq.read_table(file)
    pq.write_table(table.slice(0, 0), file)
    with pytest.raises(ShardError, match=r"it holds 0 rows, 1 by the ledger.*specter-batch verify"):
        read_night(written.out)
    file.unlink()
    with pytest.raises(ShardError, match="is missing or damaged"):
        read_night(written.out)


def test_rows_that_are_not_those_of_the_shard_are_an_error(written: WrittenNight) -> None:
    file = sorted((written.out / "rejects").iterdir())[0]
    table = pq.read_table(file)
    pq.write_table(table.set_column(2, "row", pa.array([1, 1], pa.int64())), file)
    with pytest.raises(ShardError, match="are not exactly these rows"):
        read_night(written.out)


def test_what_is_no_finished_night_is_refused(written: WrittenNight, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder, or it is empty"):
        read_night(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"is no night, there is no plan\.json"):
        read_night(written.papers)
    with output_folder(written.out).locked(), pytest.raises(BusyError, match="is at work in this folder"):
        read_night(written.out)
    ingest = tmp_path / "ingest"
    (ingest / "papers").mkdir(parents=True)
    (ingest / "ingest.json").touch()
    with pytest.raises(ConfigError, match="holds papers that `specter-batch ingest` wrote, and no labels"):
        read_night(ingest)


def test_an_unknown_kind_and_a_package_that_is_missing_are_clear_errors(
    written: WrittenNight, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="expected one of pandas, polars, arrow, batches"):
        read_night(written.out, as_="spark")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pip install 'specter-batch\[pandas\]'"):
        read_night(written.out)


def test_importing_the_package_loads_nothing_until_a_function_is_used() -> None:
    code = "import sys, specter_jobs; print('read_night' in dir(specter_jobs), 'pyarrow' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        == "True False\n"
    )
    with pytest.raises(ImportError, match="read_nights"):
        from specter_jobs import read_nights  # noqa: F401
