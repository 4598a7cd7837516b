import errno
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from specter_batch.errors import SpecterBatchError
from specter_batch.terminal import MAX_MESSAGE, message_text, os_error_text, show, show_error, show_json, show_text


class FullDisk(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def flush(self) -> None:
        raise OSError(self.number, os.strerror(self.number))


def test_lines_are_shown_one_a_line_whatever_they_hold(capsys: pytest.CaptureFixture[str]) -> None:
    show("label two\nlines", "\x1b[31mred", "s3://KEY:hunter2@bucket/x")
    assert capsys.readouterr().out == "label two\\nlines\n\\x1b[31mred\ns3://bucket/x\n"


def test_a_text_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_text("# Report\n\n| a |\n")
    assert capsys.readouterr().out == "# Report\n\n| a |\n"


def test_json_is_ascii_and_can_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"caf\udce9": ["字", 1, None, ("a\x1b",)]})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == {"caf\\xe9": ["字", 1, None, ["a\x1b"]]}


def test_a_message_is_one_line_without_error_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    show_error("cannot be read\n  ([Errno 13] Permission denied: 'a\x1b')")
    assert capsys.readouterr().err == "error: cannot be read (Permission denied: 'a\\x1b')\n"


def test_a_long_message_is_cut_in_its_middle() -> None:
    text = message_text("a" * 9000 + "end")
    assert len(text) < MAX_MESSAGE + 60
    assert "7,003 characters left out" in text
    assert text.endswith("end")


def test_a_system_error_names_the_place_and_the_reason() -> None:
    assert (
        os_error_text(FileNotFoundError(errno.ENOENT, "No such file or directory", "a"))
        == "a: no such file or directory"
    )
    assert len(os_error_text(OSError(errno.ENAMETOOLONG, "File name too long", "a" * 5000))) < 300
    assert os_error_text(OSError("no more")) == "no more"


def test_a_reader_that_has_gone_away_is_no_error() -> None:
    with redirect_stdout(FullDisk(errno.EPIPE)):
        show("a")


def test_a_full_disk_behind_standard_output_is_an_error_unless_files_have_the_result(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with redirect_stdout(FullDisk(errno.ENOSPC)):
        with pytest.raises(SpecterBatchError, match="No space left on device"):
            show("a")
        show("a", in_files_too=True)
    assert "it is complete in the files" in capsys.readouterr().err


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_no_command(closing: str) -> None:
    done = subprocess.run(f"{sys.executable} -m specter_batch --version {closing}", shell=True, check=False)  # noqa: S602
    assert done.returncode == 0


def test_a_file_never_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "from specter_batch.terminal import prepare_streams, show\n"
        "import os\nprepare_streams()\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w')\nassert file.fileno() > 2\n"
        "show('text')\nos.write(1, b'of a library')\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(f"{sys.executable} {script} >&- 2>&-", shell=True, check=False)  # noqa: S602
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("command", [[], ["classify"], ["train"]])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ascii:strict"])
def test_help_can_be_printed_in_any_encoding(command: list[str], encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "60"}
    done = subprocess.run(
        [sys.executable, "-m", "specter_batch", *command, "--help"], capture_output=True, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("latin-1")
