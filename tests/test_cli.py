import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from specter_batch import __version__, cli
from specter_batch.errors import ConfigError
from specter_batch.options.command import interruptible

HEAVY = ("torch", "transformers", "optimum", "datasets", "pandas", "sklearn", "pyarrow", "onnx", "onnxruntime")
# Runs the command of its arguments, then tells which of the heavy modules were imported.
WITH_IMPORTS = (
    "import sys\n"
    "from specter_batch.cli import main\n"
    "try:\n"
    "    main()\n"
    "finally:\n"
    f"    print('imported:', *sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)\n"
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    plain = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    environment = {key: value for key, value in os.environ.items() if key != cli.DEBUG_VARIABLE} | plain
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, encoding="utf-8", check=False, env=environment
    )


def specter_batch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "specter_batch", *arguments)


@pytest.fixture(scope="module")
def help_page() -> subprocess.CompletedProcess[str]:
    return run("-c", WITH_IMPORTS, "--help")


@pytest.fixture(scope="module")
def root() -> Any:
    return typer.main.get_command(cli.build_app())


# The installed command


def test_the_version_is_printed() -> None:
    done = specter_batch("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"specter-batch {__version__}\n", "")


def test_help_imports_nothing_heavy(help_page: subprocess.CompletedProcess[str]) -> None:
    assert help_page.returncode == 0
    assert help_page.stderr == "imported:\n"


def test_help_lists_every_command_with_the_first_line_of_its_help(
    help_page: subprocess.CompletedProcess[str], root: Any
) -> None:
    printed = " ".join(help_page.stdout.split()).replace("- ", "-")
    for name, command in root.commands.items():
        assert f" {name} {command.help.splitlines()[0]}".replace("- ", "-") in printed


def test_the_layers_register_their_commands(root: Any) -> None:
    assert {"train", "evaluate", "export", "parity"} <= set(root.commands)


def test_every_command_option_and_argument_has_help(root: Any) -> None:
    without = []
    for name, command in root.commands.items():
        if not command.help:
            without.append(name)
        without += [f"{name} {option.name}" for option in command.params if not option.help]
    assert without == []


def test_an_unknown_command_is_a_usage_error() -> None:
    done = specter_batch("clasify")
    assert done.returncode == 2
    assert "No such command 'clasify'" in done.stderr
    assert done.stdout == ""


def test_a_wrong_flag_is_a_usage_error() -> None:
    done = specter_batch("evaluate", "--devise", "cpu")
    assert done.returncode == 2
    assert "--devise" in done.stderr
    assert done.stdout == ""


def test_an_error_of_a_command_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    missing = tmp_path / "missing.parquet"
    done = specter_batch("evaluate", str(tmp_path / "bundle"), str(missing))
    assert done.returncode == cli.EXIT_COULD_NOT_START == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert str(tmp_path) in done.stderr


def test_without_arguments_the_help_page_is_printed(help_page: subprocess.CompletedProcess[str]) -> None:
    done = specter_batch()
    assert (done.returncode, done.stdout.split(), done.stderr) == (cli.EXIT_WRONG_USAGE, help_page.stdout.split(), "")


# How main() turns failures into exit codes, on a command of our own


Outcome = tuple[int | str | None, str, str]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command that raises what is given; return exit code, stdout and stderr."""

    def run_with(error: BaseException, command: str = "fail") -> Outcome:
        def fail() -> None:
            """Fail."""
            raise error

        with pytest.raises(SystemExit) as stop:
            cli.main([command], layers=[{command: (fail, "Fail.")}])
        return stop.value.code, *capsys.readouterr()

    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)
    return run_with


def test_an_error_of_ours_is_printed_as_it_is(failing: Callable[[BaseException], Outcome]) -> None:
    assert failing(ConfigError("a.toml: epochs: too many")) == (1, "", "error: a.toml: epochs: too many\n")


def test_an_error_of_several_lines_is_printed_as_one(failing: Callable[[BaseException], Outcome]) -> None:
    assert failing(ConfigError("expected this,\n    got that\n")) == (1, "", "error: expected this, got that\n")


@pytest.mark.parametrize(
    ("command", "module", "needed"),
    [
        ("export", "torch", "'specter-batch[export]'"),
        ("train", "torch.nn", "'specter-batch[train]'"),
        ("evaluate", "sklearn", "'specter-batch[train]'"),
        ("fail", "optimum", "'specter-batch[export]'"),
        ("classify", "ray", "'specter-batch[ray]'"),
        ("classify", "lxml", "lxml"),
    ],
)
def test_a_missing_package_is_named_with_what_to_install(
    command: str, module: str, needed: str, failing: Callable[..., Outcome]
) -> None:
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    said = f"error: {module} is not installed; this command needs: pip install {needed}\n"
    assert failing(error, command) == (1, "", said)


def test_an_error_of_the_file_system_is_printed_with_the_file(failing: Callable[[BaseException], Outcome]) -> None:
    code, _, message = failing(PermissionError(13, "Permission denied", "night"))
    assert (code, message) == (1, "error: night: permission denied\n")


def test_an_unexpected_error_is_named_and_says_how_to_see_more(failing: Callable[[BaseException], Outcome]) -> None:
    code, _, message = failing(ZeroDivisionError("division\nby zero"))
    assert code == 1
    assert (
        message == f"error: unexpected ZeroDivisionError: division by zero (set {cli.DEBUG_VARIABLE}=1 to see where)\n"
    )


def test_the_traceback_is_printed_when_asked_for(
    failing: Callable[[BaseException], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    code, _, message = failing(ConfigError("too many"))
    assert code == 1
    assert message.startswith("Traceback (most recent call last):")
    assert message.endswith("\nerror: too many\n")


def test_an_interrupted_command_ends_with_its_own_exit_code(failing: Callable[[BaseException], Outcome]) -> None:
    assert failing(KeyboardInterrupt())[0] == 130


def test_an_interruption_can_say_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, interruptible("start again"):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "error: interrupted; start again\n"


def test_an_exit_code_that_a_command_chose_is_kept(failing: Callable[[BaseException], Outcome]) -> None:
    assert failing(typer.Exit(3)) == (3, "", "")


@pytest.mark.parametrize("words", [["--help"], ["ingest", "--help"]])
def test_a_reader_of_the_help_may_go_away(words: list[str]) -> None:
    command = [sys.executable, "-m", "specter_batch", *words]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
