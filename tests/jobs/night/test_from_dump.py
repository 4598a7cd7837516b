import gzip
import json
from pathlib import Path

import pytest

from specter_batch.errors import ConfigError, PaperSchemaError
from specter_jobs.inspect.verify import verify_night
from support.papers_on_disk import RunNight, label_bytes, paper, read_all


def write_lines(path: Path, numbers: range) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(paper(number)) + "\n" for number in numbers))
    return path


def test_a_dump_is_labelled_in_one_command_and_goes_on_after_a_kill(night: RunNight, tmp_path: Path) -> None:
    dump = write_lines(tmp_path / "in/a.jsonl", range(12))
    report = night(dump, format="jsonl", shard_rows=5).report
    assert report.rows.labelled == 12
    whole = label_bytes(tmp_path / "out")
    ledger = tmp_path / "out/ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])
    assert night(dump, format="jsonl", shard_rows=5).manifest.this_run.shards == 2
    assert label_bytes(tmp_path / "out") == whole


def test_a_broken_file_of_the_dump_fails_and_the_others_are_labelled(night: RunNight, tmp_path: Path) -> None:
    write_lines(tmp_path / "in/a.jsonl", range(3))
    lines = "".join(json.dumps(paper(number)) + "\n" for number in range(100, 400)).encode()
    (tmp_path / "in/b.jsonl.gz").write_bytes(gzip.compress(lines)[:-200])
    result = night(tmp_path / "in", format="jsonl")
    assert result.exit_code == 3
    assert list(result.report.failed_shards) == ["b.jsonl.gz"]
    assert {row["paper_id"] for row in read_all(tmp_path / "out/labels")} == {"p0", "p1", "p2"}


def test_a_dump_of_another_format_and_an_unknown_format_are_clear_errors(night: RunNight, tmp_path: Path) -> None:
    dump = write_lines(tmp_path / "in/a.jsonl", range(3))
    with pytest.raises(PaperSchemaError):
        night(dump, format="arxiv")
    with pytest.raises(ConfigError, match="format"):
        night(dump, format="bibtex")


def test_a_folder_of_something_else_is_not_written_to(night: RunNight, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").touch()
    with pytest.raises(ConfigError, match="holds no output of classify"):
        night(write_lines(tmp_path / "in/a.jsonl", range(3)), format="jsonl")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_labels_of_a_dump_are_not_lost_to_another_dump_or_a_file_that_is_gone(night: RunNight, tmp_path: Path) -> None:
    for name, numbers in (("a", range(3)), ("b", range(3, 6))):
        write_lines(tmp_path / f"in/{name}.jsonl", numbers)
    night(tmp_path / "in", format="jsonl")
    whole, papers = label_bytes(tmp_path / "out"), tmp_path / "out/ingested/papers"
    ingested = {path.name: path.read_bytes() for path in papers.iterdir()}
    with pytest.raises(ConfigError, match=r"DUMP is .*other\.jsonl.* instead of "):
        night(write_lines(tmp_path / "other.jsonl", range(9)), format="jsonl")
    assert {path.name: path.read_bytes() for path in papers.iterdir()} == ingested
    gone = (tmp_path / "in/b.jsonl").rename(tmp_path / "b.jsonl")
    with pytest.raises(ConfigError, match=r"no longer has 1 files whose papers are labelled here \(b\.jsonl\)"):
        night(tmp_path / "in", format="jsonl")
    assert label_bytes(tmp_path / "out") == whole
    gone.rename(tmp_path / "in/b.jsonl")
    assert night(tmp_path / "in", format="jsonl").manifest.this_run.shards == 0
    result = night(tmp_path / "other.jsonl", format="jsonl", replace=True)
    assert (result.exit_code, result.report.rows.labelled) == (0, 9)
    assert {row["paper_id"] for row in read_all(tmp_path / "out/labels")} == {f"p{number}" for number in range(9)}
    verified = verify_night(tmp_path / "out")
    assert (verified.differences, verified.notes) == ([], [])


def test_a_file_that_is_gone_is_refused_by_every_run_and_not_only_by_the_first(night: RunNight, tmp_path: Path) -> None:
    for name, numbers in (("a", range(3)), ("b", range(3, 6))):
        write_lines(tmp_path / f"in/{name}.jsonl", numbers)
    night(tmp_path / "in", format="jsonl")
    whole = label_bytes(tmp_path / "out")
    (tmp_path / "in/b.jsonl").write_text("no JSON\n")  # fails, and its labels stay
    assert night(tmp_path / "in", format="jsonl").exit_code == 3
    (tmp_path / "in/b.jsonl").unlink()
    for _ in range(3):
        with pytest.raises(ConfigError, match=r"no longer has 1 files whose papers are labelled here \(b\.jsonl\)"):
            night(tmp_path / "in", format="jsonl")
        assert label_bytes(tmp_path / "out") == whole
    write_lines(tmp_path / "in/b.jsonl", range(3, 6))
    assert night(tmp_path / "in", format="jsonl").exit_code == 0
    assert label_bytes(tmp_path / "out") == whole


def test_a_file_that_only_failed_can_be_moved_out_of_the_dump(night: RunNight, tmp_path: Path) -> None:
    write_lines(tmp_path / "in/a.jsonl", range(3))
    (tmp_path / "in/b.jsonl").write_text("no JSON\n")
    assert night(tmp_path / "in", format="jsonl").exit_code == 3
    (tmp_path / "in/b.jsonl").unlink()
    assert night(tmp_path / "in", format="jsonl").exit_code == 0
