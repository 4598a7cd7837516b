import subprocess
import sys
from pathlib import Path

import pytest

from specter_batch.storage import folder_swap
from specter_batch.storage.folder_swap import replace_folder, restore_folder, set_aside

# Ends the process as a kill does at the call of this number that could change the file system, just before or after it.
KILLED = """
import ctypes, os, shutil, sys
from pathlib import Path
from specter_batch.storage import folder_swap

new, out, stop, after, exchanges = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
calls = 0

def dangerous(call):
    def wrapped(*args, **kwargs):
        global calls
        calls += 1
        if calls == stop and after == "before":
            os._exit(9)
        result = call(*args, **kwargs)
        if calls == stop and after == "after":
            os._exit(9)
        return result
    return wrapped

for owner, name in ((os, "rename"), (os, "fsync"), (os, "unlink"), (os, "rmdir"), (folder_swap, "_exchanged")):
    setattr(owner, name, dangerous(getattr(owner, name)))
Path.rename = dangerous(lambda self, target: os.replace(self, target))
folder_swap.replace_folder(new, out, exchange=exchanges == "yes")
"""
POINTS = 14


def folders(parent: Path) -> tuple[Path, Path]:
    new, out = parent / "scratch", parent / "bundle"
    for folder, content in ((new, "new"), (out, "old")):
        folder.mkdir()
        for name in ("a", "b"):
            (folder / name).write_text(content)
    return new, out


def content(folder: Path) -> set[str]:
    return {file.read_text() for file in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture(params=["exchange", "two steps"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_newer_folder_takes_the_place_of_the_older(way: str, tmp_path: Path) -> None:
    new, out = folders(tmp_path)
    replace_folder(new, out, exchange=way == "exchange")
    assert content(out) == {"new"}
    assert not set_aside(out).exists()
    assert content(new) == ({"old"} if way == "exchange" else set())


def test_a_folder_is_put_where_there_is_none(way: str, tmp_path: Path) -> None:
    new, out = folders(tmp_path)
    replace_folder(new, tmp_path / "another", exchange=way == "exchange")
    assert content(tmp_path / "another") == {"new"}
    assert content(out) == {"old"}


@pytest.mark.parametrize("moment", [1, 2])
def test_ctrl_c_between_the_steps_leaves_the_older_or_the_newer(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, out = folders(tmp_path)
    rename, calls = Path.rename, []

    def interrupted(self: Path, target: Path) -> Path:
        renamed = rename(self, target)
        calls.append(target)
        if len(calls) == moment:
            raise KeyboardInterrupt
        return renamed

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(new, out, exchange=False)
    assert content(out) == ({"old"} if moment == 1 else {"new"})


@pytest.mark.parametrize("exchanges", ["yes", "no"])
@pytest.mark.parametrize("after", ["before", "after"])
def test_a_kill_at_any_point_leaves_one_of_the_two_and_the_next_start_finds_it(
    exchanges: str, after: str, tmp_path: Path
) -> None:
    seen = set()
    for stop in range(1, POINTS):
        parent = tmp_path / str(stop)
        parent.mkdir()
        new, out = folders(parent)
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(new), str(out), str(stop), after, exchanges], check=False
        )
        assert process.returncode in (0, 9)
        if exchanges == "yes":  # nothing has to be put back
            assert content(out) in ({"old"}, {"new"})
        restore_folder(out)
        assert content(out) in ({"old"}, {"new"})
        assert len(list(out.iterdir())) == 2
        assert not set_aside(out).exists()
        if content(new) != {"new"}:  # the next export builds again what the kill took
            new = parent / "again"
            new.mkdir()
            for name in ("a", "b"):
                (new / name).write_text("new")
        replace_folder(new, out)
        assert content(out) == {"new"}
        seen.add(process.returncode)
    assert seen == {0, 9}  # so the last points are beyond the last step: every step was a point


def test_an_error_of_the_file_system_is_raised_and_changes_nothing(tmp_path: Path) -> None:
    new, out = folders(tmp_path)
    with pytest.raises(OSError, match="bundle"):
        folder_swap._exchanged(tmp_path / "missing", out)
    assert (content(new), content(out)) == ({"new"}, {"old"})
