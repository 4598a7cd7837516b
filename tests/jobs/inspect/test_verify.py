import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import ConfigError
from specter_batch.storage.files import file_sha256
from specter_jobs.cli.inspect import MAX_SHOWN
from specter_jobs.inspect.verify import verify_night
from specter_jobs.output.folder import output_folder
from support.papers_on_disk import RunNight, paper, write_dump
from support.servers.s3_server import S3Server


@pytest.fixture
def out(night: RunNight, tmp_path: Path) -> Path:
    """Return the output of a night of two files, three shards and a reject."""
    write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(8)])
    write_dump(tmp_path / "in/b.parquet", [paper(9), paper(10, title=None)])
    night(tmp_path / "in", shard_rows=4)
    return tmp_path / "out"


def change_ledger(out: Path, change: Callable[[dict[str, object]], object]) -> None:
    entries = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    change(entries[0])
    (out / "ledger.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def only_difference(out: Path) -> str:
    (difference,) = verify_night(out).differences
    return difference


def test_an_untouched_night_is_as_its_ledger_says(out: Path) -> None:
    found = verify_night(out)
    assert (found.shards, found.files, found.rows) == (3, 4, 10)
    assert (found.differences, found.notes) == ([], [])


@pytest.mark.parametrize("settings", [{"probabilities": True}, {"gates": {"min_rows": 99}}], ids=str)
def test_nights_with_other_settings_verify_too(night: RunNight, tmp_path: Path, settings: dict[str, object]) -> None:
    night(write_dump(tmp_path / "in/a.parquet", [paper(1), paper(1), paper(2)]), **settings)
    assert verify_night(tmp_path / "out").differences == []


def test_a_night_without_rows_verifies(night: RunNight, tmp_path: Path) -> None:
    night(write_dump(tmp_path / "in/a.parquet", []))
    assert verify_night(tmp_path / "out").differences == []


def test_entries_of_an_earlier_plan_do_not_count(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(8)])
    night(dump, shard_rows=3)
    night(dump, shard_rows=4)
    found = verify_night(tmp_path / "out")
    assert (found.shards, found.differences) == (2, [])


def test_a_changed_byte_is_found(out: Path) -> None:
    file = sorted((out / "labels").iterdir())[0]
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(content)
    assert re.match(rf"labels/{re.escape(file.name)}: SHA-256 \w+… is not the \w+…", only_difference(out))


def test_a_missing_file_is_found(out: Path) -> None:
    (file,) = (out / "rejects").iterdir()
    file.unlink()
    assert only_difference(out) == f"rejects/{file.name}: is missing"


def test_a_file_that_belongs_to_no_shard_is_found(out: Path) -> None:
    (out / "labels/extra.parquet").write_bytes(b"x")
    assert only_difference(out) == "labels/extra.parquet: belongs to no shard of the ledger"


def test_a_file_of_other_columns_is_found_even_if_the_ledger_was_told(out: Path) -> None:
    file = sorted((out / "labels").iterdir())[0]
    table = pq.read_table(file)
    table = table.set_column(2, "label_id", table["label_id"].cast(pa.int64())).drop_columns(["score"])
    pq.write_table(table, file)
    change_ledger(out, lambda entry: entry["labels"].update(sha256=file_sha256(file)))  # type: ignore[attr-defined]
    differences = verify_night(out).differences
    assert f"labels/{file.name}: column label_id should be int32, got int64" in differences
    assert f"labels/{file.name}: column score should be double, got none" in differences
    assert [line for line in differences if line.endswith(f"has other columns than labels/{file.name}")]


def test_a_file_that_is_no_parquet_is_found(out: Path) -> None:
    file = sorted((out / "labels").iterdir())[0]
    file.write_bytes(b"nonsense")
    assert f"labels/{file.name}: is no readable parquet file" in verify_night(out).differences


def test_rows_that_do_not_add_up_are_found(out: Path) -> None:
    change_ledger(out, lambda entry: entry.update(rejects_by_reason={"null_id": 1}))
    differences = verify_night(out).differences
    assert any(line.endswith("4 rows labelled and 0 rejected of 4") for line in differences)
    assert "report.json: rows rejected: 1 in the report, 2 found" in differences


def test_a_shard_that_is_not_in_the_ledger_is_found(out: Path) -> None:
    lines = (out / "ledger.jsonl").read_text().splitlines(keepends=True)
    (out / "ledger.jsonl").write_text("".join(lines[1:]))
    shard = json.loads(lines[0])["shard"]
    assert f"{shard}: is in the plan and not in the ledger; run the night again" in verify_night(out).differences


def test_an_edited_report_is_found(out: Path) -> None:
    report = json.loads((out / "report.json").read_text())
    report["rows"]["labelled"] += 1
    (out / "report.json").write_text(json.dumps(report))
    assert verify_night(out).differences == [
        "report.json: rows labelled: 10 in the report, 9 found",
        "report.json: rows of all outcomes: 11 in the report, 10 found",
    ]


@pytest.mark.parametrize(
    ("content", "difference"),
    [
        ('{"macro_f1": null, "scored_papers": -1}', "report.json: is not the report of a night (scored_papers: "),
        ("[]", "report.json: is not the report of a night ("),
        ("{", "report.json: is no JSON ("),
        ("[" * 100_000, "report.json: is no JSON ("),
    ],
)
def test_a_report_of_another_shape_is_found(out: Path, content: str, difference: str) -> None:
    (out / "report.json").write_text(content)
    assert only_difference(out).startswith(difference)


def test_a_night_that_was_cut_off_before_its_report_is_found(out: Path) -> None:
    (out / "report.json").unlink()
    assert only_difference(out) == "report.json: is missing; the night did not come to its end, run it again"


@pytest.mark.parametrize("name", ["report.html", "report.md", "manifest.json"])
def test_a_missing_page_or_manifest_is_found(out: Path, name: str) -> None:
    (out / name).unlink()
    assert only_difference(out) == f"{name}: is missing; run the night again, which writes it from its labels"


def test_the_success_marker_must_agree_with_the_report(out: Path) -> None:
    (out / "_SUCCESS").unlink()
    assert only_difference(out) == "_SUCCESS: is missing, though nothing failed"


def test_the_success_marker_of_a_night_whose_gates_failed_is_found(night: RunNight, tmp_path: Path) -> None:
    night(write_dump(tmp_path / "in/a.parquet", [paper(1)]), gates={"min_rows": 99})
    (tmp_path / "out/_SUCCESS").touch()
    assert only_difference(tmp_path / "out") == "_SUCCESS: is there, though something failed"


def test_failed_shards_are_named(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1)])
    (tmp_path / "in/b.parquet").write_bytes(b"")
    night(tmp_path / "in")
    assert only_difference(tmp_path / "out").startswith("b.parquet: failed (")


def test_an_input_that_has_changed_is_found_and_one_that_is_gone_is_noted(out: Path, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(5)])
    (tmp_path / "in/b.parquet").unlink()
    found = verify_night(out)
    assert found.differences == ["input a.parquet: holds 5 rows now, 8 when the night ran"]
    assert found.notes == ["1 of 2 input files are gone and were not compared"]


def test_a_night_at_work_is_not_verified(out: Path) -> None:
    with (
        output_folder(out).locked(),
        pytest.raises(ConfigError, match="is at work in this folder; verify it when the job has ended"),
    ):
        verify_night(out)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no night has begun to label here"):
        verify_night(tmp_path)


def test_of_very_many_differences_the_command_shows_the_first_and_json_all(out: Path) -> None:
    for number in range(MAX_SHOWN + 5):
        (out / f"labels/extra-{number:02d}.parquet").write_bytes(b"x")
    runner, app = CliRunner(), build_app()
    lines = runner.invoke(app, ["verify", str(out)]).stdout.splitlines()
    assert len(lines) == MAX_SHOWN + 2
    assert lines[-2] == "… and 5 more; --json lists all"
    assert lines[-1].endswith("25 differences")
    assert len(json.loads(runner.invoke(app, ["verify", str(out), "--json"]).stdout)["differences"]) == MAX_SHOWN + 5


def test_the_command_exits_with_1_and_names_what_differs(out: Path) -> None:
    runner, app = CliRunner(), build_app()
    good = runner.invoke(app, ["verify", str(out)])
    assert (good.exit_code, good.stdout) == (0, "10 rows in 3 shards, 4 files: all match the ledger\n")
    (out / "_SUCCESS").unlink()
    bad = runner.invoke(app, ["verify", str(out)])
    assert bad.exit_code == 1
    assert bad.stdout.splitlines()[0] == "_SUCCESS: is missing, though nothing failed"
    as_json = runner.invoke(app, ["verify", str(out), "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout) | {"differences": []} == {
        "shards": 3,
        "files": 4,
        "rows": 10,
        "differences": [],
        "notes": [],
        "failed_gates": [],
        "verified": False,
    }


def test_a_night_whose_gates_failed_says_so_in_verify_and_status(night: RunNight, tmp_path: Path) -> None:
    night(write_dump(tmp_path / "in/a.parquet", [paper(1)]), gates={"min_rows": 99})
    runner, app = CliRunner(), build_app()
    verified = runner.invoke(app, ["verify", str(tmp_path / "out")])
    assert verified.exit_code == 4
    assert verified.stdout.splitlines() == [
        "gate min_rows 99: failed, found 1",
        "1 rows in 1 shards, 1 files: all match the ledger, but gates failed and there is no _SUCCESS",
    ]
    as_json = json.loads(runner.invoke(app, ["verify", str(tmp_path / "out"), "--json"]).stdout)
    assert (as_json["verified"], as_json["differences"]) == (False, [])
    said = runner.invoke(app, ["status", str(tmp_path / "out")]).stdout
    assert said.startswith("finished with exit code 4, without _SUCCESS\n")
    assert "gate     min_rows 99: failed, found 1" in said


def test_an_input_that_cannot_be_reached_is_not_checked_and_no_difference(
    night: RunNight, s3: S3Server, tmp_path: Path
) -> None:
    for name in "abc":
        write_dump(tmp_path / f"in/{name}.parquet", [paper(ord(name))])
    night(str(s3.upload(tmp_path / "in", "in")))
    s3.check_credentials(True)
    try:
        found = verify_night(tmp_path / "out")
    finally:
        s3.check_credentials(False)
    assert found.differences == []
    (note,) = found.notes
    assert note.startswith("3 of 3 input files cannot be reached and were not compared (s3://")
