import fcntl
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import ConfigError
from specter_batch.storage.output_claim import LOCK_FILE
from specter_jobs.inspect.status import night_status, status_lines
from specter_jobs.output.folder import output_folder
from specter_jobs.output.names import PROGRESS_FILE
from specter_jobs.output.plan_file import read_plan
from support.papers_on_disk import RunNight, paper, write_dump


def write_progress(out: Path, **changes: Any) -> None:
    now = time.time()
    values = {
        "state": "labelling",
        "process": "process 1 on host",
        "started": now - 60,
        "updated": now,
        "rows": 1000,
        "rows_done": 400,
        "rows_kept": 200,
        "shards": 10,
        "shards_done": 4,
        "labelling_since": now - 50,
        "papers": 150,
        "shard_seconds": 40.0,
        "model_seconds": 30.0,
    }
    out.mkdir(exist_ok=True)
    (out / PROGRESS_FILE).write_text(json.dumps(values | changes))


def test_a_finished_night_tells_how_it_ended(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])
    (tmp_path / "in/b.parquet").write_bytes(b"nonsense")
    night(tmp_path / "in", shard_rows=4)
    status = night_status(tmp_path / "out")
    assert (status.state, status.exit_code, status.holder, status.eta_seconds) == (
        "finished",
        3,
        None,
        None,
    )
    assert (status.shards.planned, status.shards.done, status.shards.failed) == (3, 3, 1)
    assert (status.rows.rows_in, status.rows.done) == (12, 12)
    assert status.papers == 12
    assert list(status.failed) == ["b.parquet"]


def test_shards_kept_from_an_earlier_run_count_as_done_and_not_as_speed(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])
    night(dump, shard_rows=4)
    night(dump, shard_rows=4)
    status = night_status(tmp_path / "out")
    assert (status.shards.done, status.rows.done) == (3, 12)
    assert (status.papers, status.papers_per_second) == (0, None)


def test_a_running_night_tells_speed_time_left_and_who_is_at_work(tmp_path: Path) -> None:
    write_progress(tmp_path)
    with output_folder(tmp_path).locked():
        status = night_status(tmp_path)
        assert status.state == "labelling"
        assert status.holder == output_folder(tmp_path).holder()
        assert status.holder.startswith("process ")
    # 200 rows and 150 papers in 50 seconds, 600 rows to go.
    assert status.papers_per_second == pytest.approx(3.0, rel=0.05)
    assert status.model_wait_share == 0.25
    assert status.eta_seconds == pytest.approx(150, rel=0.05)


def test_a_night_without_a_job_at_work_has_stopped(tmp_path: Path) -> None:
    write_progress(tmp_path)
    status = night_status(tmp_path)
    assert (status.state, status.holder, status.eta_seconds) == ("stopped", None, None)
    assert "run the same command again to resume" in "\n".join(status_lines(status))


def test_a_survey_has_no_speed_yet(tmp_path: Path) -> None:
    nothing = {"rows_done": 0, "rows_kept": 0, "shards_done": 0, "papers": 0, "shard_seconds": 0, "model_seconds": 0}
    write_progress(tmp_path, state="surveying", labelling_since=None, **nothing)
    with output_folder(tmp_path).locked():
        status = night_status(tmp_path)
    assert (status.state, status.papers_per_second, status.eta_seconds) == ("surveying", None, None)
    assert status.model_wait_share is None


def test_the_text_tells_all_that_is_known(tmp_path: Path) -> None:
    write_progress(tmp_path, failed={"a": "is empty"})
    with output_folder(tmp_path).locked():
        status = night_status(tmp_path).model_copy(update={"eta_seconds": 3725, "papers_per_second": 3.5})
    lines = status_lines(status)
    assert lines[:3] == ["labelling", "shards   4 of 10 done, 1 failed", "rows     400 of 1,000"]
    assert lines[4:6] == ["speed    3.5 papers/s, the model waited 25% of the time", "left     about 1:02:05"]
    assert lines[6].startswith("held by  process ")
    assert lines[7] == "failed   a: is empty"


@pytest.mark.parametrize("content", [None, "{", "{}", '{"state": "asleep"}'])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / PROGRESS_FILE).write_text(content)
    with pytest.raises(ConfigError, match=r"no night has started here|not the progress of a night"):
        night_status(tmp_path)


def test_the_command_prints_text_or_json(night: RunNight, tmp_path: Path) -> None:
    night(write_dump(tmp_path / "in/a.parquet", [paper(1)]))
    app = build_app()
    plain = CliRunner().invoke(app, ["status", str(tmp_path / "out")])
    as_json = CliRunner().invoke(app, ["status", str(tmp_path / "out"), "--json"])
    assert (plain.exit_code, as_json.exit_code) == (0, 0)
    assert plain.stdout.startswith("finished with exit code 0\nshards   1 of 1 done, 0 failed\n")
    assert json.loads(as_json.stdout)["rows"] == {"in": 1, "done": 1}


def test_a_look_at_the_lock_turns_no_job_away(tmp_path: Path) -> None:
    with (tmp_path / LOCK_FILE).open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        threading.Timer(0.2, lambda: fcntl.flock(stream, fcntl.LOCK_UN)).start()
        with output_folder(tmp_path).locked():
            assert output_folder(tmp_path).holder() is not None


def test_the_lock_of_a_killed_job_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom specter_jobs.output.folder import output_folder\n"
        "with output_folder(Path(sys.argv[1])).locked():\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        assert f"process {process.pid} on" in (output_folder(tmp_path).holder() or "")
        process.kill()
        process.wait()
    assert output_folder(tmp_path).holder() is None


def test_a_folder_that_exists_is_not_suggested_for_itself(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "nights").mkdir()
    for read in (night_status, lambda place: read_plan(output_folder(place))):
        with pytest.raises(ConfigError, match="give the OUT folder") as failed:
            read(tmp_path / "night")
        assert "did you mean" not in str(failed.value)
        with pytest.raises(ConfigError, match=r"did you mean .*/nights\?"):
            read(tmp_path / "nigts")
