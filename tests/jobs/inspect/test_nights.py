import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import ConfigError
from specter_jobs.inspect.nights import list_nights
from specter_jobs.output.folder import output_folder
from support.papers_on_disk import RunNight, paper, write_dump


@pytest.fixture
def folder(night: RunNight, tmp_path: Path) -> Path:
    """Return a folder with a good night, one whose gate failed, a stopped one, and things that are no nights."""
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1), paper(2), paper(3, title=None)])
    nights = tmp_path / "nights"
    night(dump, out=nights / "2026-11-25")
    night(dump, out=nights / "2026-11-26", gates={"min_rows": 99}, reuse=[nights / "2026-11-25"])
    night(dump, out=nights / "2026-11-27")
    progress = nights / "2026-11-27/progress.json"
    progress.write_text(json.dumps({**json.loads(progress.read_text()), "state": "labelling", "exit_code": None}))
    (nights / "2026-11-27/report.json").unlink()
    (nights / "notes").mkdir()
    (nights / "readme.txt").touch()
    return nights


def test_each_night_has_a_line_also_unfinished_and_unreadable_ones(folder: Path) -> None:
    (folder / "2026-11-25/report.json").write_text("{")
    lines = {line.name: line for line in list_nights(folder)}
    assert list(lines) == ["2026-11-25", "2026-11-26", "2026-11-27"]
    assert [line.state for line in lines.values()] == ["unreadable", "gates failed", "stopped"]
    assert "not the report of a night" in str(lines["2026-11-25"].problem)
    gated = lines["2026-11-26"]
    assert (gated.rows, gated.labelled, gated.reused, gated.rejected, gated.failed) == (3, 0, 2, 1, 0)
    assert gated.failed_gates == ("min_rows",)
    assert gated.seconds is not None
    assert lines["2026-11-27"].problem == "3 of 3 rows are done"
    with output_folder(folder / "2026-11-27").locked():
        assert list_nights(folder)[-1].state == "running"


def test_a_damaged_manifest_makes_one_line_unreadable(folder: Path) -> None:
    manifest = folder / "2026-11-25/manifest.json"
    for content in ('{"started": 3}', "{", "[]"):
        manifest.write_text(content)
        lines = list_nights(folder)
        assert [line.state for line in lines] == ["unreadable", "gates failed", "stopped"]
        assert f"{manifest}: not the manifest of a night" in str(lines[0].problem)


def test_a_night_without_success_is_not_done(folder: Path) -> None:
    assert list_nights(folder)[0].state == "done"
    (folder / "2026-11-25/_SUCCESS").unlink()
    first, second, _ = list_nights(folder)
    assert (first.state, second.state) == ("stopped", "gates failed")
    assert first.problem == "there is no _SUCCESS, though nothing failed; run the same command again"
    assert first.rows == 3
    with output_folder(folder / "2026-11-25").locked():
        running = list_nights(folder)[0]
    assert (running.state, running.problem) == ("running", None)


def test_the_command_prints_a_table_csv_json_and_parquet(folder: Path, tmp_path: Path) -> None:
    runner, app = CliRunner(), build_app()
    lines = runner.invoke(app, ["nights", str(folder)]).stdout.splitlines()
    assert max(map(len, lines[:4])) <= 80
    assert lines[1].split()[:5] == ["2026-11-25", "2026-11-25", "3", "2", "0"]
    assert lines[1].endswith("done")
    assert lines[4] == "2026-11-26: min_rows 99: failed, found 3"
    rows = json.loads(runner.invoke(app, ["nights", str(folder), "--json"]).stdout)
    assert [row["state"] for row in rows] == ["done", "gates failed", "stopped"]
    printed = runner.invoke(app, ["nights", str(folder), "--csv"]).stdout.splitlines()
    assert printed[0].split(",")[:4] == ["name", "date", "state", "rows"]
    assert len(printed) == 4
    file = tmp_path / "nights.parquet"
    assert runner.invoke(app, ["nights", str(folder), "--parquet", str(file)]).stdout == f"3 rows written to {file}\n"


def test_a_folder_without_nights_and_a_night_itself_are_clear_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a night itself"):
        list_nights(folder / "2026-11-25")
    with pytest.raises(ConfigError, match="holds no nights"):
        list_nights(tmp_path / "in")
    with pytest.raises(ConfigError, match="there is no such folder"):
        list_nights(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"a\.parquet: is a file; give the folder that the OUT folders"):
        list_nights(tmp_path / "in/a.parquet")
