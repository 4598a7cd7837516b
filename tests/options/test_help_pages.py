"""The help pages of all commands: complete, in the same words everywhere, and readable on any terminal."""

import os
import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest
import typer

from specter_batch.cli import build_app
from specter_batch.settings.declaration import DeclaredOption

COMMANDS: dict[str, Any] = dict(typer.main.get_command(build_app()).commands)  # type: ignore[attr-defined]
# Options that do something else in another command, by what they choose there.
OTHER_MEANING = {
    "--label",
    "--allow-overlap",
    "--learning-rate",
    "--head-learning-rate",
    "--max-f1-loss",
    "--val",
    "--test",
    "--out",
    "--replace",
    "--papers",
    "--model",
    "--sample",
    "--threads",
    "--seed",
    "--workers",
    "--device",
    "--compute",
    "--encoder",
}


def declared(command: str) -> list[DeclaredOption]:
    return [option for source in COMMANDS[command].callback.sources for option in source.options]


def page(command: str, *, columns: int) -> str:
    """Return the help page as a plain terminal of some width gets it, piped and without Unicode."""
    plain = {"COLUMNS": str(columns), "LANG": "C", "LC_ALL": "C", "TERM": "dumb", "NO_COLOR": "1"}
    words = [sys.executable, "-m", "specter_batch", command, "--help"]
    done = subprocess.run(words, capture_output=True, check=True, env=os.environ | plain)
    assert done.stderr == b""
    return done.stdout.decode("ascii")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [60, 80])
def test_no_name_is_cut_and_no_line_is_longer_than_the_terminal(command: str, columns: int) -> None:
    text = page(command, columns=columns)
    body, _, examples = text.partition("Examples:\n")
    words = set(body.replace(",", " ").split())
    for parameter in COMMANDS[command].params:
        if not getattr(parameter, "hidden", False):
            names = [*parameter.opts, *parameter.secondary_opts]
            assert set(names if parameter.param_type_name == "option" else [parameter.metavar]) <= words
    assert max(len(line) for line in body.splitlines()) <= columns
    assert all(line.strip() in text for line in COMMANDS[command].epilog.splitlines())
    assert examples


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_described_and_has_its_default(command: str) -> None:
    for option in declared(command):
        text = option.field.description
        assert text, option.name
        assert text[0].isupper() or text.startswith("CSV"), text
        assert text.endswith("."), text
        assert not text.startswith(("Of ", "That ", "Those ", "Told ")), text
        if option.option.argument is None:
            assert "default: " in option.help or option.help.endswith("required]"), option.help
            assert option.default != "None", option.name


def test_the_same_option_has_the_same_words_in_every_command() -> None:
    words = defaultdict(set)
    for command in COMMANDS:
        for option in declared(command):
            if option.option.argument is None and option.spelling not in OTHER_MEANING:
                words[option.spelling].add((option.help, option.metavar))
    assert {name: texts for name, texts in words.items() if len(texts) > 1} == {}


def test_the_options_of_a_night_stand_in_panels() -> None:
    headings = [line for line in page("classify", columns=80).splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        "Arguments:", "Input:", "Model:", "Labels:", "Reuse:", "Gates:", "Output:", "Cluster:", "Help:", "Examples:",
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_examples_of_itself(command: str) -> None:
    examples = COMMANDS[command].epilog.splitlines()
    assert 1 <= len(examples) <= 3
    assert all(line.startswith(f"specter-batch {command} ") for line in examples)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["classify", "a", "b", "--shard_row", "3"], "--shard-rows"),
        (["classify", "a", "b", "--presicion", "fp32"], "--graph"),
        (["train", "a", "--heads", "mlp"], "--head"),
        (["evaluate", "a", "b", "--devise", "cpu"], "--device"),
    ],
)
def test_a_misspelled_option_is_answered_with_the_option_that_is_meant(words: list[str], meant: str) -> None:
    done = subprocess.run([sys.executable, "-m", "specter_batch", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"no such option {words[-2]}; did you mean {meant}?" in done.stderr
