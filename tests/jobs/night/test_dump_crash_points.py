"""A night from a dump is stopped at steps on disk, and run again: its labels and rejects are those of a whole night."""

import json
from pathlib import Path

import pytest

from specter_jobs.inspect.verify import verify_night
from support.crash.stopped_disk import Disk, StoppedError
from support.papers_on_disk import RunNight, label_bytes, paper

# Every step takes minutes; other steps are taken when the number of steps changes.
STRIDE = 7


def test_a_night_from_a_dump_that_is_stopped_anywhere_ends_in_the_same_bytes(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = tmp_path / "dump"
    dump.mkdir()
    for file in (0, 1):
        papers = [paper(10 * file + number, title="" if number == 3 else f"Title {number}") for number in range(6)]
        (dump / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in papers))
    night(dump, format="jsonl", shard_rows=4)
    expected = label_bytes(tmp_path / "out")
    with monkeypatch.context() as patched:
        disk = Disk(patched)
        night(dump, out=tmp_path / "counted", format="jsonl", shard_rows=4)
    assert disk.steps > 50
    for last in range(0, disk.steps, STRIDE):
        out = tmp_path / f"out-{last}"
        with monkeypatch.context() as patched, pytest.raises(StoppedError):
            Disk(patched, last=last)
            night(dump, out=out, format="jsonl", shard_rows=4)
        result = night(dump, out=out, format="jsonl", shard_rows=4)
        assert result.exit_code == 0
        assert label_bytes(out) == expected, last
        assert verify_night(out).differences == []
