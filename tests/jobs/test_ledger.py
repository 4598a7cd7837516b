from pathlib import Path

from papers_on_disk import RunNight, paper, write_dump
from specter_jobs.ledger import LEDGER_FILE, read_entries


def test_a_half_written_line_is_as_if_it_were_not_there(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])
    night(dump, shard_rows=4)
    ledger = tmp_path / "out" / LEDGER_FILE
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:-30])
    assert len(read_entries(tmp_path / "out")) == 2
    assert night(dump, shard_rows=4).manifest["this_run"]["shards"] == 1
    assert len(read_entries(tmp_path / "out")) == 3


def test_a_rerun_does_nothing_again(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])
    first = night(dump, shard_rows=4)
    again = night(dump, shard_rows=4)
    assert (first.manifest["this_run"]["shards"], again.manifest["this_run"]["shards"]) == (3, 0)
    assert again.report == first.report


def test_a_missing_or_cut_output_file_is_made_again(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])
    night(dump, shard_rows=4)
    first, second, _ = sorted((tmp_path / "out/labels").iterdir())
    whole = first.read_bytes(), second.read_bytes()
    first.unlink()
    second.write_bytes(whole[1][:-10])
    assert night(dump, shard_rows=4).manifest["this_run"]["shards"] == 2
    assert (first.read_bytes(), second.read_bytes()) == whole


def test_changed_rows_and_changed_settings_are_done_again(night: RunNight, tmp_path: Path) -> None:
    path = tmp_path / "in/a.parquet"
    night(write_dump(path, [paper(i) for i in range(12)]), shard_rows=4)
    write_dump(path, [paper(i, title="New words" if i == 5 else f"Outcomes of trial number {i}") for i in range(12)])
    assert night(path, shard_rows=4).manifest["this_run"]["shards"] == 1
    assert night(path, shard_rows=4, language="any").manifest["this_run"]["shards"] == 3


def test_outputs_of_rows_that_are_gone_are_removed(night: RunNight, tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1)])
    gone = write_dump(tmp_path / "in/b.parquet", [paper(2), paper(3, title=None)])
    night(tmp_path / "in")
    assert len(list((tmp_path / "out/labels").iterdir())) == 2
    gone.unlink()
    night(tmp_path / "in")
    assert len(list((tmp_path / "out/labels").iterdir())) == 1
    assert list((tmp_path / "out/rejects").iterdir()) == []
