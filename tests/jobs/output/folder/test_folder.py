"""An output folder does the same on a disk and in a store."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from specter_batch.errors import ConfigError
from specter_batch.storage.files import write_text
from specter_batch.storage.output_claim import MARKER_FILE, output_command, this_process
from specter_jobs.output.folder import OutputFolder, output_folder
from specter_jobs.output.names import CLASSIFY, INGEST, LABELS, LEDGER_FILE, NIGHT_NAMES, REJECTS, SWAP_FILE, OutputFile
from support.servers.s3_server import S3Server


class Line(BaseModel):
    key: str
    number: int


@pytest.fixture(params=["disk", "store"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> OutputFolder:
    """Return an output folder that is not there yet."""
    if request.param == "disk":
        return output_folder(tmp_path / "out")
    server: S3Server = request.getfixturevalue("s3")
    return output_folder(server.path("out"))


def test_a_folder_is_marked_and_locked_for_one_command(out: OutputFolder) -> None:
    with out.claimed(CLASSIFY):
        assert out.holder() == this_process()
        assert output_command(out.place) == CLASSIFY
    assert out.holder() is None
    with pytest.raises(ConfigError, match="holds the output of `specter-batch classify`"), out.claimed(INGEST):
        raise AssertionError


def test_a_ledger_returns_its_entries_and_the_last_one_of_a_key_stands(out: OutputFolder) -> None:
    out.prepare(CLASSIFY, (LABELS, REJECTS))
    assert out.entries(LEDGER_FILE, Line) == []
    lines = [Line(key="a", number=1), Line(key="b", number=2), Line(key="a", number=3)]
    for line in lines:
        out.add_entry(LEDGER_FILE, line.key, line)
    newest = {line.key: line for line in out.entries(LEDGER_FILE, Line)}
    assert newest == {"a": lines[2], "b": lines[1]}
    out.fold(LEDGER_FILE, list(newest.values()))
    assert {line.key: line for line in out.entries(LEDGER_FILE, Line)} == newest
    assert LEDGER_FILE in out.names()


def test_files_are_listed_checked_moved_and_removed(out: OutputFolder) -> None:
    out.prepare(CLASSIFY, (LABELS, REJECTS))
    out.staging.prepare(CLASSIFY, (LABELS, REJECTS))
    write_text(out.staging / f"{LABELS}/a.parquet", "abc")
    file = OutputFile(
        name=f"{LABELS}/a.parquet",
        rows=1,
        size=3,
        sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    )
    assert not out.is_intact(file)
    out.take([file.name, f"{LABELS}/moved-before.parquet"], out.staging)
    assert out.is_intact(file)
    assert out.sizes() == {file.name: 3}
    assert out.staging.sizes() == {}
    out.sync([file.name])
    write_text(out / file.name, "xyz")
    assert not out.is_intact(file)
    out.remove_files([file.name, "never/there"])
    assert out.sizes() == {}
    out.staging.remove()
    assert set(out.files()) == {MARKER_FILE}


def test_a_swap_that_was_interrupted_is_seen(out: OutputFolder) -> None:
    assert not out.is_swapping
    out.staging.prepare(CLASSIFY, ())
    write_text(out.staging / SWAP_FILE, "{}")
    assert out.is_swapping


def test_scratch_is_a_local_folder_that_is_removed(out: OutputFolder) -> None:
    out.prepare(CLASSIFY, ())
    with out.scratch() as scratch:
        (scratch / "table").write_bytes(b"rows")
    assert not scratch.exists()
    assert out.files() == [MARKER_FILE]


@pytest.mark.parametrize(
    "names",
    [{"plan.json", "progress.json"}, {"ledger.jsonl", "labels"}, {"labels", "rejects", "report.json"}],
)
def test_folders_of_older_versions_are_known_by_names_of_a_night(names: set[str], tmp_path: Path) -> None:
    assert names <= NIGHT_NAMES
    for name in names:
        (tmp_path / name).mkdir()
    assert output_command(tmp_path) == CLASSIFY
