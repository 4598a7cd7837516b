import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from specter_batch.inputs import parquet_inventory
from specter_batch.storage.files import apply_umask, file_sha256, write_json, write_text, written_whole


@pytest.fixture
def old(tmp_path: Path) -> Path:
    file = tmp_path / "labels.parquet"
    file.write_text("old")
    return file


def names(file: Path) -> list[str]:
    return sorted(entry.name for entry in file.parent.iterdir())


def test_a_new_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    with written_whole(file) as partial:
        partial.write_text("new")
        assert not file.exists()
    assert file.read_text() == "new"
    assert names(file) == ["a.parquet"]


def test_readers_see_the_old_content_until_the_block_ends(old: Path) -> None:
    with written_whole(old) as partial:
        partial.write_text("new")
        assert old.read_text() == "old"
    assert old.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_content_and_no_partial_file(old: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), written_whole(old) as partial:
        partial.write_text("half")
        raise error
    assert old.read_text() == "old"
    assert names(old) == ["labels.parquet"]


def test_an_exception_on_the_first_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_wrote_nothing_is_an_error_and_keeps_the_old_content(old: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(old):
        pass
    assert old.read_text() == "old"


def test_a_killed_writer_leaves_the_old_content_and_the_next_one_clears_up(old: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from specter_batch.storage.files import written_whole\n"
        "with written_whole(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('a long half of it')\n"
        "    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(old)], check=False).returncode == 9
    assert old.read_text() == "old"
    assert len(names(old)) == 2
    write_text(old, "new")
    assert old.read_text() == "new"
    assert names(old) == ["labels.parquet"]


def test_a_partial_parquet_file_is_never_taken_for_data(old: Path) -> None:
    with written_whole(old) as partial:
        partial.write_text("half")
        assert [file.path for file in parquet_inventory(old.parent).files] == [old]


def test_text_is_written_as_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.md", "Ångström – 𝛽\n")
    assert (tmp_path / "a.md").read_bytes() == "Ångström – 𝛽\n".encode()


def test_json_is_readable_and_comes_back_equal(tmp_path: Path) -> None:
    value = {"labels": ["Ärzte", "Jus"], "score": 0.1, "none": None}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "Ärzte" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_hold_is_an_error_and_keeps_the_old_content(old: Path, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_json(old, {"score": value})
    assert old.read_text() == "old"
    assert names(old) == ["labels.parquet"]


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"No space left on device.*report\.json"),
        written_whole(tmp_path / "report.json"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match="is not replaced") as raised:
        write_text(tmp_path / "report.html", "text")
    assert (raised.value.filename, raised.value.filename2) == (str(tmp_path / "report.html"), None)


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_get_the_mode_that_the_umask_gives(tmp_path: Path, umask: int, expected: int) -> None:
    private, public, other = (tmp_path / name for name in ("weights", "notes", "link"))
    private.touch(mode=0o600)
    public.touch()
    public.chmod(0o666)
    other.symlink_to("nowhere")
    before = os.umask(umask)
    try:
        apply_umask(tmp_path)
    finally:
        os.umask(before)
    assert private.stat().st_mode & 0o777 == expected
    assert public.stat().st_mode & 0o777 == 0o666
    assert names(private) == ["link", "notes", "weights"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    place = tmp_path / "place"
    make(place)
    with pytest.raises(OSError, match="is not replaced; give a file"):
        write_text(place, "text")
    assert place.exists()
    assert not place.is_file()
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 35])
def test_the_hash_of_a_file_does_not_depend_on_the_pieces_in_which_it_is_read(size: int, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(size)))
    expected = hashlib.sha256(bytes(range(size))).hexdigest()
    assert {file_sha256(file), file_sha256(file, piece_bytes=10)} == {expected}
