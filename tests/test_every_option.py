"""Every option and argument of every command, tried with what people and schedulers put there by mistake."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from specter_batch import cli

SECRET = "hunter2"  # noqa: S105 - nobody's
URLS = (
    f"s3://AKIAKEY:{SECRET}@bucket/x",
    f"s3:/AKIAKEY:{SECRET}@bucket/x",
    f"https://user:p@{SECRET}@127.0.0.1:9/x",
    f"https://127.0.0.1:9/x?X-Amz-Signature={SECRET}",
    f"ray://user:{SECRET}@127.0.0.1:9",
    f"file://user:{SECRET}@host/x",
)


def commands() -> dict[str, Any]:
    return dict(typer.main.get_command(cli.build_app()).commands)  # type: ignore[attr-defined]


def name_of(option: Any) -> str:
    return next((text for text in option.opts if text.startswith("--")), str(option.name))


def takes_a_value(option: Any) -> bool:
    return name_of(option) not in ("--help", "--json") and not getattr(option, "is_flag", False)


COMMANDS = commands()
OPTIONS = [
    pytest.param(name, option, id=f"{name} {name_of(option)}")
    for name, command in COMMANDS.items()
    for option in command.params
    if takes_a_value(option)
]


def line_with(command: str, tried: Any, value: str, *, folder: Path) -> list[str]:
    """Return a command line in which what is required is there, and one option or argument has the value."""
    words = []
    for option in COMMANDS[command].params:
        given = value if option.name == tried.name else "jsonl" if option.name == "format" else str(folder / "x")
        if option.param_type_name == "argument":
            words.append(given)
        elif option.name == tried.name or option.required:
            words.append(f"{name_of(option)}={given}")
    if command in ("classify", "estimate") and tried.name != "bundle":
        words.append(f"--bundle={folder / 'x'}")
    return [command, *words]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Run a command line in an empty folder; return the exit code and all that was printed."""

    def run_line(words: list[str]) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        return ended.value.code, "".join(capfd.readouterr())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)
    yield run_line


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_no_option_shows_or_stores_the_password_of_a_url(command: str, option: Any, run: Any, tmp_path: Path) -> None:
    for url in URLS:
        code, printed = run(line_with(command, option, url, folder=tmp_path))
        assert code in (1, 2, 75), (url, printed)  # 75: the store cannot be reached now
        assert SECRET not in printed
        assert "unexpected" not in printed
        for path in tmp_path.rglob("*"):
            assert SECRET not in str(path)
            assert not path.is_file() or SECRET.encode() not in path.read_bytes()


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_every_odd_value_ends_in_one_clear_sentence(command: str, option: Any, run: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    not_utf8 = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    places = ("folder", "file", "missing", "dangling", "loop", "file/below")
    values = ["", "x" * 5000, "-1", "9" * 30, "nan", "inf", "a\nb", "\x1b[31mred", "{", "/" + "a/" * 3000, not_utf8]
    if command == "demo":  # of which every other value is a good name for its folder
        values, places = ["", "x" * 5000, "/" + "a/" * 3000], ("file", "loop", "file/below")
    for value in [*values, *(str(tmp_path / place) for place in places)]:
        words = line_with(command, option, value, folder=tmp_path)
        if value.startswith("-") and value in words:
            continue  # an argument that looks like an option is no value
        code, printed = run(words)
        assert code in (1, 2), (value, code, printed)
        last = printed.rstrip().splitlines()[-1]
        assert last.startswith("error: "), (value, printed)
        assert "unexpected" not in printed, (value, printed)
        assert "Traceback" not in printed, (value, printed)
        assert "[Errno" not in last, (value, printed)
        assert len(last) < 2500, value
        assert all(char.isprintable() or char == "\n" for char in printed), (value, printed)
