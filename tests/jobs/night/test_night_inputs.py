"""What a night does with an input that is more than a folder of parquet."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from specter_batch.errors import PaperSchemaError
from specter_batch.model.bundle import ModelBundle
from specter_jobs.inspect.status import night_status, status_lines
from specter_jobs.inspect.verify import verify_night
from support.papers_on_disk import RunNight, label_bytes, paper, read_all, write_dump


def report_in(out: Path) -> dict[str, object]:
    return dict(json.loads((out / "report.json").read_text(encoding="utf-8")))


def test_what_may_hold_papers_and_cannot_be_read_fails_the_night(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1)])
    (tmp_path / "in/b.parquet").symlink_to("/nowhere/b.parquet")
    (tmp_path / "in/notes.md").write_text("notes")
    result = night(tmp_path / "in")
    assert result.exit_code == 3
    assert not (tmp_path / "out/_SUCCESS").exists()
    plan = json.loads((tmp_path / "out/plan.json").read_text())
    status = night_status(tmp_path / "out")
    assert list(result.report.failed_shards) == list(plan["unreadable"]) == list(status.failed) == ["b.parquet"]
    assert list(result.report.ignored_inputs) == list(plan["ignored"]) == list(status.ignored) == ["notes.md"]
    assert any(line.startswith("ignored  notes.md") for line in status_lines(status))
    for page in ("report.md", "report.html"):
        assert "notes.md" in (tmp_path / "out" / page).read_text(encoding="utf-8").replace("\\", "")


def test_a_night_whose_input_has_a_name_that_is_not_utf8_ends_well(night: RunNight, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/in/caf\xe9"))
    folder.mkdir(parents=True)
    write_dump(tmp_path / "a.parquet", [paper(1), paper(1), paper(2, title=None)])
    (tmp_path / "a.parquet").rename(os.fsdecode(os.fsencode(folder) + b"/\xe9.parquet"))
    result = night(tmp_path / "in")
    assert result.exit_code == 0
    assert {row["file"] for row in read_all(tmp_path / "out/rejects")} == {r"caf\xe9/\xe9.parquet"}
    assert read_all(tmp_path / "out/rejects")[0]["detail"] in (None, "null", r"first in caf\xe9/\xe9.parquet row 0")
    assert not verify_night(tmp_path / "out").differences
    assert not verify_night(tmp_path / "out").notes
    before = label_bytes(tmp_path / "out")
    assert night(tmp_path / "in").manifest.this_run.shards == 0
    assert label_bytes(tmp_path / "out") == before


def test_paths_of_a_night_need_not_be_utf8(night: RunNight, tmp_path: Path) -> None:
    source, out = (Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/in\xe9", b"/out\xe9"))
    write_dump(tmp_path / "in/a.parquet", [paper(1)])
    (tmp_path / "in").rename(source)
    assert night(source, out=out).exit_code == 0
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["config"]["out"].endswith(r"out\xe9")
    assert not verify_night(out).differences
    assert not verify_night(out).notes


def test_an_output_inside_the_input_is_no_input_of_later_nights(night: RunNight, tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    write_dump(folder / "a.parquet", [paper(1), paper(2)])
    for out in (folder / "nights/1", folder / "nights/1", folder / "nights/2"):
        result = night(folder, out=out)
        assert (result.exit_code, result.report.rows.rows_in) == (0, 2)
    assert set(result.report.ignored_inputs) == {"nights/1/"}


def test_labels_in_the_names_of_folders_are_the_truth_of_the_night(
    night: RunNight, tiny_bundle: Path, tmp_path: Path
) -> None:
    labels = ModelBundle.open(tiny_bundle).labels
    name = labels.names[0]
    write_dump(tmp_path / f"in/label={name.replace(' ', '%20').replace('/', '%2F')}/a.parquet", [paper(1), paper(2)])
    write_dump(tmp_path / "in/label=__HIVE_DEFAULT_PARTITION__/a.parquet", [paper(3)])
    write_dump(tmp_path / "in/label=other/a.parquet", [paper(4, label=name)])
    report = night(tmp_path / "in").report
    assert (report.rows.labelled, report.scored_papers, report.unknown_labels) == (4, 3, 0)


def test_a_partition_without_a_value_is_no_truth(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/label=unknown/a.parquet", [paper(1)])
    assert night(tmp_path / "in").report.unknown_labels == 1
    (tmp_path / "in/label=unknown").rename(tmp_path / "in/label=")
    again = night(tmp_path / "in", out=tmp_path / "second")
    assert (again.report.unknown_labels, again.report.rows.labelled) == (0, 1)


def test_a_night_of_an_ingests_folder_reads_its_papers(night: RunNight, tmp_path: Path) -> None:
    for kind in ("papers", "rejects", "index"):
        (tmp_path / "in" / kind).mkdir(parents=True)
    write_dump(tmp_path / "in/papers/a.parquet", [paper(1)])
    pq.write_table(
        pq.read_table(tmp_path / "in/papers/a.parquet").select(["paper_id"]), tmp_path / "in/rejects/a.parquet"
    )
    assert night(tmp_path / "in").report.rows.rows_in == 1


def test_an_earlier_night_given_as_input_is_refused(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1)])
    night(tmp_path / "in")
    with pytest.raises(PaperSchemaError, match="an output of `specter-batch classify`"):
        night(tmp_path / "out", out=tmp_path / "second")
