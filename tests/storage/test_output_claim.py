"""Which command an output folder belongs to: the marker, and the folders of versions that wrote none."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from specter_batch.errors import ConfigError
from specter_batch.storage.location import Location
from specter_batch.storage.output_claim import (
    LOCK_FILE,
    MARKER_FILE,
    folder_holder,
    folder_locked,
    mark_output,
    output_command,
)
from specter_batch.storage.url_path import UrlPath

_folders = count(1)


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return tmp_path / "out" if request.param == "disk" else UrlPath(f"memory://marked/{next(_folders)}")


def lay(folder: Path, *names: str) -> Path:
    """Put files, and folders where a name ends in a slash, into a folder."""
    for name in names:
        if name.endswith("/"):
            (folder / name).mkdir(parents=True)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_marked_folder_is_its_commands_and_no_others(folder: Location) -> None:
    assert output_command(folder) is None
    mark_output(folder, "classify")
    mark_output(folder, "classify")
    assert output_command(folder) == "classify"
    with pytest.raises(ConfigError, match="holds the output of `specter-batch classify`; give ingest another folder"):
        mark_output(folder, "ingest")


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (("bundle.json", "tokenizer.json"), "export"),
        (("run.json", "model.safetensors", "training.json", "report.html"), "train"),
        (("training.json", "_lock"), "train"),
        (("_lock", "papers/", "rejects/", "_index/"), "ingest"),
        (("_lock", "papers/a.parquet", "ingest.jsonl"), "ingest"),
        (("_lock", "labels/", "rejects/", "plan.json", "progress.json"), "classify"),
        (("labels/a.parquet", "rejects/", "ledger.jsonl"), "classify"),
        (("_lock", "labels/", "rejects/", "ingested/papers/a.parquet"), "classify"),
        (("progress.json", "plan.json", "ledger/shard.json"), "classify"),
        (("predictions.parquet", "report.json"), "evaluate"),
        (("predictions.parquet",), None),
        (("baseline.json", "baseline.md"), "baseline"),
        (("scidocs.json", "dropped.parquet", "mesh/"), "scidocs"),
        (("papers.parquet", "_lock"), None),
        (("_lock",), None),
    ],
)
def test_folders_of_older_versions_are_known_by_their_files(
    tmp_path: Path, names: tuple[str, ...], command: str | None
) -> None:
    assert output_command(lay(tmp_path, *names)) == command


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (("labels/", "rejects/"), "classify"),
        (("labels/", "rejects/", "ingested/papers/a.parquet"), "classify"),
        (("papers/", "rejects/"), "ingest"),
        (("parity.json",), "export"),
        (("predictions.parquet",), "evaluate"),
        (("lost+found/",), "classify"),
        (("_lock",), "train"),
        ((f".{MARKER_FILE}.partial",), "ingest"),
    ],
)
def test_what_a_kill_or_a_new_volume_left_can_be_claimed(tmp_path: Path, names: tuple[str, ...], command: str) -> None:
    mark_output(lay(tmp_path, *names), command)
    assert output_command(tmp_path) == command


@pytest.mark.parametrize("names", [("notes.txt",), ("a.parquet", "_lock"), ("labels/a.parquet", "notes.txt")])
def test_files_of_somebody_else_are_named_and_left_alone(tmp_path: Path, names: tuple[str, ...]) -> None:
    before = content(lay(tmp_path, *names))
    with pytest.raises(ConfigError, match=r"is not empty and holds no output of classify \(it holds "):
        mark_output(tmp_path, "classify")
    assert content(tmp_path) == before


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        mark_output(file, "train")
    assert file.read_text() == "mine"


def test_a_marker_of_a_later_version_may_say_more(tmp_path: Path) -> None:
    (tmp_path / MARKER_FILE).write_text(json.dumps({"command": "distil", "since": 7}))
    assert output_command(tmp_path) == "distil"


def test_a_damaged_marker_is_rewritten_where_it_is_alone_and_named_where_it_is_not(tmp_path: Path) -> None:
    (tmp_path / MARKER_FILE).write_text("")
    mark_output(tmp_path, "classify")
    assert output_command(tmp_path) == "classify"
    (tmp_path / MARKER_FILE).write_text("nothing")
    lay(tmp_path, "notes.txt")
    with pytest.raises(ConfigError, match=f"{MARKER_FILE}: is damaged"):
        mark_output(tmp_path, "classify")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(os.devnull)])
def test_a_lock_that_is_no_file_is_named_with_what_to_do(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / LOCK_FILE)
    said = r"_lock: is a folder, device or pipe, .* move it away: mv .*_lock .*_lock\.old"
    with pytest.raises(ConfigError, match=said), folder_locked(tmp_path):
        pass
    with pytest.raises(ConfigError, match="cannot be a lock"):
        folder_holder(tmp_path)


KILLED = """
import os, sys
from pathlib import Path
from specter_batch.storage import output_claim
from specter_batch.storage.output_claim import mark_output
left = int(sys.argv[2])
def trip(event, _):
    global left
    if event in ("open", "os.mkdir", "os.rename", "os.remove"):
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(trip)
mark_output(Path(sys.argv[1]), "classify")
"""


def test_after_a_kill_at_any_point_the_same_command_claims_the_folder(tmp_path: Path) -> None:
    ended = []
    for point in range(8):
        out = tmp_path / f"out{point}"
        ended.append(subprocess.run([sys.executable, "-c", KILLED, str(out), str(point)], check=False).returncode)
        mark_output(out, "classify")
        assert output_command(out) == "classify"
        assert [path.name for path in out.iterdir()] == [MARKER_FILE]
    assert 9 in ended
    assert 0 in ended


@pytest.mark.parametrize("command", ["train", "export"])
def test_a_model_is_not_written_to_a_name_that_its_libraries_cannot_open(tmp_path: Path, command: str) -> None:
    with pytest.raises(ConfigError, match=r"r\\xff: the name is not UTF-8, .*give another one"):
        mark_output(tmp_path / "r\udcff", command)
    mark_output(tmp_path / "r\udcff", "classify")
