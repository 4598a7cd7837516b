import json
import stat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

from specter_batch.cpus import usable_cpus
from specter_batch.errors import ConfigError, PaperSchemaError, ProviderError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import cuda_problem
from specter_batch.papers.text import paper_text, text_hash
from specter_batch.training.demo.sample import NIGHT_DIRT, SamplePaths
from specter_jobs.output.folder import output_folder
from specter_jobs.output.report_model.parts import RowCounts
from specter_jobs.output.schema import LABEL_SCHEMA
from support.papers_on_disk import GERMAN, RunNight, label_bytes, paper, read_all, write_dump


def test_the_sample_night_is_accounted_for_to_the_row(
    night: RunNight, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    report = night(sample_paths.night, shard_rows=40).report
    labelled = sample_paths.n_night_clean + NIGHT_DIRT.n_labelled
    assert report.rejects_by_reason == dict(sorted(NIGHT_DIRT.rejects.items()))
    assert report.rows == RowCounts(
        rows_in=sample_paths.n_night_clean + NIGHT_DIRT.n_rows,
        labelled=labelled,
        reused=0,
        rejected=sum(NIGHT_DIRT.rejects.values()),
        failed=0,
    )
    assert report.seen_in_training == NIGHT_DIRT.seen_in_training
    assert len(read_all(tmp_path / "out/labels")) == labelled
    assert sum(report.label_papers.values()) == labelled


def test_every_reject_says_where_it_stood_and_why(night: RunNight, tmp_path: Path) -> None:
    rows = [
        paper(0),
        paper(1, paper_id=None),
        paper(2, title="  "),
        paper(3, abstract=None),
        paper(0),
        paper(5, title="Ergebnisse einer Studie", abstract=GERMAN),
    ]
    night(write_dump(tmp_path / "in/a.parquet", rows, row_group_size=2), shard_rows=3)
    rejects = read_all(tmp_path / "out/rejects")
    found = [(r["file"], r["row_group"], r["row"], r["paper_id"], r["reason"]) for r in rejects]
    assert found == [
        ("a.parquet", 0, 1, None, "null_id"),
        ("a.parquet", 1, 2, "p2", "missing_title"),
        ("a.parquet", 1, 3, "p3", "missing_abstract"),
        ("a.parquet", 2, 4, "p0", "duplicate_id"),
        ("a.parquet", 2, 5, "p5", "not_english"),
    ]
    assert [r["detail"] for r in rejects[3:]] == ["first in a.parquet row 0", "de"]


def test_bytes_that_are_not_utf8_are_rejected(night: RunNight, tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "title": pa.array([b"caf\xe9 society", b"Fine"]), "abstract": ["An abstract."] * 2})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/a.parquet")
    night(tmp_path / "in", language="any")
    assert [(r["paper_id"], r["reason"]) for r in read_all(tmp_path / "out/rejects")] == [("1", "invalid_unicode")]


def test_label_files_hold_the_promised_columns_in_input_order(
    night: RunNight, tmp_path: Path, tiny_bundle: Path
) -> None:
    night(write_dump(tmp_path / "in/a.parquet", [paper(i) for i in (3, 1, 2)]), probabilities=True)
    rows = read_all(tmp_path / "out/labels")
    labels = ModelBundle.open(tiny_bundle).labels
    assert list(rows[0]) == [*LABEL_SCHEMA.names, "probabilities", "logits"]
    assert [row["paper_id"] for row in rows] == ["p3", "p1", "p2"]
    for row in rows:
        assert row["label"] == labels.names[row["label_id"]]
        assert row["score"] == pytest.approx(row["probabilities"][row["label_id"]], abs=1e-6)
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
    first = paper(3)
    assert rows[0]["text_hash"] == text_hash(paper_text(first["title"], first["abstract"]))


def test_the_reported_f1_is_scikit_learns(night: RunNight, sample_paths: SamplePaths, tmp_path: Path) -> None:
    report = night(sample_paths.val).report
    true = {row["paper_id"]: row["label"] for row in pq.read_table(sample_paths.val).to_pylist()}
    rows = read_all(tmp_path / "out/labels")
    expected = f1_score([true[row["paper_id"]] for row in rows], [row["label"] for row in rows], average="macro")
    assert report.macro_f1 == pytest.approx(expected)
    assert report.scored_papers == len(rows)
    saved = json.loads((tmp_path / "out/report.json").read_text())
    assert saved["macro_f1"] == report.macro_f1
    assert f"Macro F1 {expected:.4f}" in (tmp_path / "out/report.md").read_text()


def test_papers_seen_in_training_stay_out_of_the_f1(night: RunNight, sample_paths: SamplePaths, tmp_path: Path) -> None:
    report = night(sample_paths.train).report
    assert report.macro_f1 is None
    assert report.seen_in_training == report.rows.labelled


def test_a_true_label_the_model_does_not_know_is_counted_and_not_scored(night: RunNight, tmp_path: Path) -> None:
    rows = [paper(1, label="Astrology"), paper(2, label="HIV/AIDS"), paper(3, label=None)]
    report = night(write_dump(tmp_path / "in/a.parquet", rows)).report
    assert (report.unknown_labels, report.scored_papers, report.rows.labelled) == (1, 1, 3)


def test_labels_do_not_depend_on_shards_workers_or_order(night: RunNight, tmp_path: Path) -> None:
    rows = [paper(i, abstract=paper(i)["abstract"] * (1 + i % 5)) for i in range(60)]
    by_id: list[dict[str, tuple[str, float]]] = []
    for number, (order, settings) in enumerate(
        ((rows, {"threads": 1}), (rows, {"threads": 3, "shard_rows": 7}), (rows[::-1], {"shard_rows": 25}))
    ):
        out = tmp_path / f"out{number}"
        night(write_dump(tmp_path / f"in{number}/a.parquet", order), out=out, **settings)
        by_id.append({row["paper_id"]: (row["label"], row["score"]) for row in read_all(out / "labels")})
    assert by_id[0] == by_id[1] == by_id[2]


def test_a_missing_abstract_can_be_labelled_by_its_title(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1, abstract=None), paper(2, title=None)])
    night(dump, missing_abstract="title_only", language="any")
    assert [row["paper_id"] for row in read_all(tmp_path / "out/labels")] == ["p1"]
    assert [row["reason"] for row in read_all(tmp_path / "out/rejects")] == ["missing_title"]


def test_any_language_takes_all(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1, title="Ergebnisse", abstract=GERMAN)])
    assert night(dump, language="any").report.rows.labelled == 1


def test_a_corrupt_file_costs_only_itself_and_a_rerun_does_only_that(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(5)])
    good = write_dump(tmp_path / "in/b.parquet", [paper(i) for i in range(5, 9)]).read_bytes()
    (tmp_path / "in/b.parquet").write_bytes(good[: len(good) // 2])
    broken = night(tmp_path / "in")
    assert broken.exit_code == 3
    assert list(broken.report.failed_shards) == ["b.parquet"]
    assert broken.report.rows.labelled == 5
    assert not (tmp_path / "out/_SUCCESS").exists()
    (tmp_path / "in/b.parquet").write_bytes(good)
    mended = night(tmp_path / "in")
    assert mended.exit_code == 0
    assert mended.manifest.this_run.papers == 4
    assert (tmp_path / "out/_SUCCESS").exists()


def test_an_unreadable_row_group_is_a_failed_shard_and_its_rows_are_counted(night: RunNight, tmp_path: Path) -> None:
    path = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)], row_group_size=4)
    start = pq.ParquetFile(path).metadata.row_group(1).column(2).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    result = night(path, shard_rows=4)
    assert result.exit_code == 3
    assert result.report.rows == RowCounts(rows_in=12, labelled=8, reused=0, rejected=0, failed=4)


def test_too_many_failed_shards_stop_the_night(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1)])
    for name in "bcd":
        (tmp_path / f"in/{name}.parquet").write_bytes(b"nonsense")
    assert night(tmp_path / "in", max_failed_shards=3).report.rows.labelled == 1
    with pytest.raises(PaperSchemaError, match="3 of 4 files"):
        night(tmp_path / "in", max_failed_shards=2, out=tmp_path / "out2")


def test_a_night_without_rows_ends_well_if_that_is_allowed(night: RunNight, tmp_path: Path) -> None:
    result = night(write_dump(tmp_path / "in/a.parquet", []), gates={"min_rows": 0})
    assert result.exit_code == 0
    assert result.report.rows.rows_in == 0
    assert (tmp_path / "out/_SUCCESS").exists()


def test_an_empty_folder_and_a_missing_column_are_clear_errors(night: RunNight, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PaperSchemaError, match="no parquet files found"):
        night(tmp_path / "empty")
    dump = write_dump(tmp_path / "in/a.parquet", [{"paper_id": "1", "name": "x", "abstract": "y"}])
    with pytest.raises(PaperSchemaError, match="no column for title: expected title, got paper_id, name, abstract"):
        night(dump)
    assert not (tmp_path / "out").exists()


def test_columns_can_be_named(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [{"key": "k", "name": "A title of a paper", "body": "An abstract."}])
    named = {"paper_id_column": "key", "title_column": "name", "abstract_column": "body"}
    assert night(dump, language="any", **named).report.rows.labelled == 1


def test_nested_folders_are_read_and_marker_files_are_not(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/date=2026-11-22/a.parquet", [paper(1)])
    write_dump(tmp_path / "in/_temporary/b.parquet", [paper(2)])
    (tmp_path / "in/_SUCCESS").touch()
    night(tmp_path / "in")
    assert [row["paper_id"] for row in read_all(tmp_path / "out/labels")] == ["p1"]


def test_a_folder_of_something_else_is_not_written_to(night: RunNight, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="is not empty and holds no output of classify"):
        night(write_dump(tmp_path / "in/a.parquet", [paper(1)]))


def test_the_second_job_on_a_folder_stops_and_says_who_holds_it(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    night(dump)
    with (
        output_folder(tmp_path / "out").locked(),
        pytest.raises(ConfigError, match=r"process \d+ on .+ is at work in this folder"),
    ):
        night(dump)


def test_a_locked_folder_keeps_its_success_marker(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    night(dump)
    with output_folder(tmp_path / "out").locked(), pytest.raises(ConfigError):
        night(dump)
    assert (tmp_path / "out/_SUCCESS").exists()


@pytest.mark.skipif(cuda_problem(0) is None, reason="this machine has a CUDA card; the test is of one without")
def test_cuda_without_cuda_stops_and_says_what_is_missing(night: RunNight, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="--device cpu"):
        night(write_dump(tmp_path / "in/a.parquet", [paper(1)]), device="cuda")
    assert not (tmp_path / "out").exists()


def test_the_manifest_says_what_really_ran(night: RunNight, tmp_path: Path, tiny_bundle: Path) -> None:
    night(write_dump(tmp_path / "in/a.parquet", [paper(1)]))
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["device"] == {
        "asked": "cpu",
        "device": "cpu",
        "provider": "CPUExecutionProvider",
        "graph": "model_int8.onnx",
        "engine": "local",
        "workers": 1,
        "threads": usable_cpus(),
        "max_batch_tokens": None,
    }
    assert manifest["bundle"]["fingerprint"] == ModelBundle.open(tiny_bundle).fingerprint
    assert manifest["versions"]["tokenizers"]


def test_output_files_are_not_world_writable(night: RunNight, tmp_path: Path) -> None:
    night(write_dump(tmp_path / "in/a.parquet", [paper(1), paper(2, title=None)]))
    for path in (tmp_path / "out").rglob("*"):
        assert not path.stat().st_mode & stat.S_IWOTH, path


def test_the_same_night_twice_gives_the_same_bytes(night: RunNight, sample_paths: SamplePaths, tmp_path: Path) -> None:
    for out in ("one", "two"):
        night(sample_paths.night, out=tmp_path / out, shard_rows=50)
    assert label_bytes(tmp_path / "one") == label_bytes(tmp_path / "two")
    assert (tmp_path / "one/report.json").read_bytes() == (tmp_path / "two/report.json").read_bytes()
