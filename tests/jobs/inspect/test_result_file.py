"""Where the commands that look into nights may write their result: never over a night or its papers."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import ConfigError
from support.papers_on_disk import RunNight, paper, write_dump
from support.servers.s3_server import S3Server
from support.written_nights import Row, WrittenNight, write_night


@pytest.fixture
def written(tmp_path: Path) -> WrittenNight:
    """Return a night with the marker of an output, in a folder of nights."""
    night = write_night(tmp_path, {"a.parquet": [Row(paper_id="a")]}, out="nights/one")
    (night.out / "_specter_batch.json").write_text('{"command": "classify"}')
    return night


def commands(night: Path) -> list[list[str]]:
    return [["show", str(night), "--id", "a"], ["compare", str(night), str(night)], ["nights", str(night.parent)]]


def refusal(words: list[str]) -> str:
    """Run a command that must be refused, and return the message."""
    done = CliRunner().invoke(build_app(), words)
    assert isinstance(done.exception, ConfigError), (done.stdout, done.exception)
    assert done.exception.exit_code == 1
    return str(done.exception)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["ledger.jsonl", "labels/new.parquet", "new/deep/new.parquet"])
def test_no_command_writes_into_an_output_folder(written: WrittenNight, tmp_path: Path, name: str) -> None:
    before = contents(tmp_path)
    (tmp_path / "link").symlink_to(written.out)
    for words in commands(written.out):
        for target in (written.out / name, tmp_path / "link" / name):
            message = refusal([*words, "--parquet", str(target)])
            assert message == (
                f"--parquet {target}: is inside {written.out}, which holds the output of `specter-batch classify`; "
                "give a file in another folder, nothing was changed"
            )
    assert contents(tmp_path) == before


def test_no_command_writes_over_a_file_of_papers(written: WrittenNight, tmp_path: Path) -> None:
    before = contents(tmp_path)
    file = written.papers / "a.parquet"
    for words in commands(written.out):
        message = refusal([*words, "--parquet", os.path.relpath(file)])
        assert f"is a file of papers that the night {written.out} read; give another file" in message
    moved = written.papers.rename(tmp_path / "moved") / "a.parquet"
    for place in (moved, moved.parent, moved.parent / "*.parquet"):
        for words in commands(written.out)[:2]:
            assert "is a file of papers" in refusal([*words, "--papers", str(place), "--parquet", str(moved)])
    moved.parent.rename(written.papers)
    assert contents(tmp_path) == before


def test_a_file_next_to_nights_and_papers_is_written_and_replaced(written: WrittenNight, tmp_path: Path) -> None:
    for words in commands(written.out):
        for target in (written.out.parent / "new.parquet", tmp_path / "papers/new.parquet"):
            for _ in range(2):
                done = CliRunner().invoke(build_app(), [*words, "--parquet", str(target)])
                assert (done.exit_code, target.is_file()) == (0, True), done.exception
            target.unlink()


@pytest.mark.parametrize("dump", ["papers.jsonl", "."])
def test_a_dump_that_was_ingested_is_not_replaced(night: RunNight, tmp_path: Path, dump: str) -> None:
    file = tmp_path / "in/papers.jsonl"
    file.parent.mkdir()
    file.write_text("".join(f"{json.dumps(paper(number))}\n" for number in range(3)))
    out = tmp_path / "nights/one"
    night(file.parent / dump, format="jsonl", out=out)
    for words in commands(out):
        assert f"is a file of papers that the night {out} read" in refusal([*words, "--parquet", str(file)])


def test_a_real_night_and_a_store_are_protected_too(night: RunNight, tmp_path: Path, s3: S3Server) -> None:
    night(write_dump(tmp_path / "in/a.parquet", [paper(1)]), out=tmp_path / "nights/one")
    nights = s3.upload(tmp_path / "nights", "nights")
    words = ["nights", str(nights), "--parquet"]
    assert "is inside s3://" in refusal([*words, f"{nights}/one/labels/new.parquet"])
    done = CliRunner().invoke(build_app(), [*words, f"{nights}/new.parquet"])
    assert (done.exit_code, done.stdout) == (0, f"1 rows written to {nights}/new.parquet\n")
