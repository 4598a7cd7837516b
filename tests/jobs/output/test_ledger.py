import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from specter_batch.errors import ConfigError
from specter_jobs.inspect.verify import verify_night
from specter_jobs.output.folder import output_folder
from specter_jobs.output.ledger import Ledger, read_entries
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import LEDGER_FILE
from support.papers_on_disk import RunNight, label_bytes, paper, write_dump


def test_a_half_written_line_is_as_if_it_were_not_there(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])
    night(dump, shard_rows=4)
    ledger = tmp_path / "out" / LEDGER_FILE
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:-30])
    assert len(read_entries(output_folder(tmp_path / "out"))) == 2
    assert night(dump, shard_rows=4).manifest.this_run.shards == 1
    assert len(read_entries(output_folder(tmp_path / "out"))) == 3


def test_a_rerun_does_nothing_again(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])
    first = night(dump, shard_rows=4)
    again = night(dump, shard_rows=4)
    assert (first.manifest.this_run.shards, again.manifest.this_run.shards) == (3, 0)
    assert again.report == first.report


def test_a_missing_or_cut_output_file_is_made_again(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])
    night(dump, shard_rows=4)
    first, second, _ = sorted((tmp_path / "out/labels").iterdir())
    whole = first.read_bytes(), second.read_bytes()
    first.unlink()
    second.write_bytes(whole[1][:-10])
    assert night(dump, shard_rows=4).manifest.this_run.shards == 2
    assert (first.read_bytes(), second.read_bytes()) == whole


EDITS: dict[str, Any] = {
    "rows": {"rows": 5},
    "papers by label": {"label_papers": [9, 0]},
    "fewer labels": {"label_papers": [4]},
    "bins": {"bin_papers": [4]},
    "score": {"score_sum": 99.0},
    "reused": {"reused": 7},
    "no scores": {"scores": {"a": 1}},
    "scores of other labels": {"scores": {"unseen": {"n_labels": 10**9}, "seen": {"n_labels": 10**9}}},
    "rejects": {"rejects_by_reason": {"null_id": 1}},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_shard_whose_entry_was_edited_is_labelled_again(
    night: RunNight, tmp_path: Path, edit: dict[str, Any]
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(8)])
    first = night(dump, shard_rows=4)
    ledger = tmp_path / "out" / LEDGER_FILE
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    entries[0].update(edit)
    ledger.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert verify_night(tmp_path / "out").differences
    again = night(dump, shard_rows=4)
    assert again.manifest.this_run.shards == 1
    assert again.report == first.report
    assert verify_night(tmp_path / "out").differences == []


def test_changed_rows_are_done_again(night: RunNight, tmp_path: Path) -> None:
    path = tmp_path / "in/a.parquet"
    night(write_dump(path, [paper(i) for i in range(12)]), shard_rows=4)
    write_dump(path, [paper(i, title="New words" if i == 5 else f"Outcomes of trial number {i}") for i in range(12)])
    assert night(path, shard_rows=4).manifest.this_run.shards == 1


def test_outputs_of_rows_that_are_gone_are_removed(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1)])
    gone = write_dump(tmp_path / "in/b.parquet", [paper(2), paper(3, title=None)])
    night(tmp_path / "in")
    assert len(list((tmp_path / "out/labels").iterdir())) == 2
    gone.unlink()
    with pytest.raises(ConfigError, match=r"no longer has 1 files .*\(b\.parquet\), .* delete 1 finished labels"):
        night(tmp_path / "in")
    assert len(list((tmp_path / "out/labels").iterdir())) == 2
    night(tmp_path / "in", replace=True)
    assert len(list((tmp_path / "out/labels").iterdir())) == 1
    assert list((tmp_path / "out/rejects").iterdir()) == []


def same_size(file: Path) -> None:
    """Change a file and leave its size and times as they are."""
    held, times = file.read_bytes(), file.stat()
    file.write_bytes(held[:40] + bytes([held[40] ^ 1]) + held[41:])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_changed_file_of_the_same_size_is_made_again(night: RunNight, tmp_path: Path) -> None:
    papers = [paper(i, title=None if i % 4 == 0 else f"Trial {i}") for i in range(8)]
    dump = write_dump(tmp_path / "in/a.parquet", papers)
    night(dump, shard_rows=4)
    before = label_bytes(tmp_path / "out")
    same_size(min((tmp_path / "out/labels").iterdir()))
    same_size(max((tmp_path / "out/rejects").iterdir()))
    assert night(dump, shard_rows=4).manifest.this_run.shards == 2
    assert label_bytes(tmp_path / "out") == before


@pytest.mark.parametrize("damage", [same_size, Path.unlink])
def test_a_file_that_is_damaged_while_the_night_runs_gets_no_success(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(8)])
    commit = Ledger.commit
    committed: list[Path] = []

    def commit_and_damage_the_one_before(self: Ledger, *arguments: Any, **named: Any) -> LedgerEntry:
        entry = commit(self, *arguments, **named)
        if committed:
            damage(committed[-1])
            committed.clear()
        else:
            committed.append(tmp_path / "out" / entry.labels.name)
        return entry

    monkeypatch.setattr(Ledger, "commit", commit_and_damage_the_one_before)
    result = night(dump, shard_rows=4)
    assert result.exit_code == 3
    (error,) = result.report.failed_shards.values()
    assert "was removed or changed after it was written; run the same command again" in error
    assert not (tmp_path / "out/_SUCCESS").exists()
    monkeypatch.undo()
    assert night(dump, shard_rows=4).manifest.this_run.shards == 1
    assert (tmp_path / "out/_SUCCESS").exists()
