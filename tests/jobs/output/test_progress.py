import json
from pathlib import Path
from typing import Any

import pytest

from specter_jobs.output.folder import output_folder
from specter_jobs.output.names import PROGRESS_FILE
from specter_jobs.output.progress import NightWatch
from support.night_reports import entry_of, report_of


def progress(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / PROGRESS_FILE).read_text()))


def test_the_file_follows_the_night_from_survey_to_end(tmp_path: Path) -> None:
    watch = NightWatch(output_folder(tmp_path), rows=400, shards=4, unreadable={"b.parquet": "is empty"}, ignored={})
    assert (progress(tmp_path)["state"], progress(tmp_path)["failed"]) == ("surveying", {"b.parquet": "is empty"})
    watch.labelling([entry_of(0), entry_of(1)], {"a-3": "is gone"})
    found = progress(tmp_path)
    assert (found["state"], found["shards_done"], found["rows_done"], found["rows_kept"]) == ("labelling", 2, 200, 200)
    assert list(found["failed"]) == ["b.parquet", "a-3"]
    watch.finished(entry_of(2, papers=90))
    watch.ended(report_of(failed_shards={"a-3": "is gone"}), exit_code=3)
    found = progress(tmp_path)
    assert (found["state"], found["exit_code"], found["failed"]) == ("finished", 3, {"a-3": "is gone"})
    assert (found["shards_done"], found["rows_done"], found["papers"]) == (3, 300, 90)
    assert (found["shard_seconds"], found["model_seconds"]) == (20, 15)


def test_small_shards_do_not_wait_for_the_disk_each(tmp_path: Path) -> None:
    watch = NightWatch(output_folder(tmp_path), rows=400, shards=4, unreadable={}, ignored={})
    watch.labelling([], {})
    for number in range(3):
        watch.finished(entry_of(number))
    assert progress(tmp_path)["shards_done"] < 3
    watch.failed("a-3", "is gone")
    assert (progress(tmp_path)["shards_done"], progress(tmp_path)["failed"]) == (3, {"a-3": "is gone"})


def test_a_file_that_cannot_be_written_costs_no_night(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = NightWatch(output_folder(tmp_path / "gone"), rows=1, shards=1, unreadable={}, ignored={})
    watch.ended(report_of(), exit_code=0)
    assert caplog.messages.count("progress not written") == 2
