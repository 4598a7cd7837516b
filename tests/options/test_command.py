"""An option is declared in one place: a field of a settings class. What follows from it is tried here."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import ConfigError, UsageError
from specter_batch.options.command import Sections, command
from specter_batch.settings import Settings
from specter_batch.settings.declaration import FormerName, Option, declared_options
from specter_batch.storage.location import LocalPath, PathOrUrl


class Limits(Settings):
    """A nested section."""

    panel: ClassVar[str] = "Gates"

    most: Annotated[Annotated[float, Field(ge=0, le=1)] | None, Option(default="no limit")] = Field(
        default=None, description="Fail if there is more."
    )


class Base(Settings):
    """A section that others include."""

    panel: ClassVar[str] = "Input"

    source: Annotated[PathOrUrl, Option(argument="SOURCE")] = Field(description="What to read.")
    rows: Annotated[int, Option(unit="rows")] = Field(default=5000, ge=1, description="Rows of a shard.")


class Example(Base):
    """Settings of a command of our own."""

    panel: ClassVar[str] = "Model"
    may_be_in_a_file: ClassVar[bool] = True

    graph: Annotated[Literal["fp32", "int8"] | None, FormerName("precision"), Option(default="the fastest")] = Field(
        default=None, description="Graph to run."
    )
    whole: bool = Field(default=False, description="Read all of it.")
    force: Annotated[bool, Option(negative=False)] = Field(default=False, description="Write anyway.")
    earlier: Annotated[tuple[PathOrUrl, ...], Option(default="none")] = Field(default=(), description="Earlier output.")
    folder: LocalPath | None = Field(default=None, description="Where to write.")
    limits: Limits = Limits()


class WithOneMore(Example):
    """What a developer adds: one field."""

    batch_size: Annotated[int, Option(unit="papers")] = Field(default=16, ge=1, le=64, description="Papers in a batch.")


def run(settings: type[Settings], *words: str) -> Any:
    """Run a command that has the options of a settings class; return the settings, or raise what it raised."""
    seen: list[Any] = []

    def example(settings: Any) -> None:
        """Do something."""
        seen.append(settings)

    example.__annotations__["settings"] = settings
    app = build_app([{"example": (command("specter-batch example here")(example), "Do something.")}])
    done = CliRunner().invoke(app, ["example", *words])
    if not seen and done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return seen[0] if seen else done.output


def help_page(settings: type[Settings]) -> str:
    return " ".join(run(settings, "--help").split())


def test_a_field_is_an_option_with_its_help_default_unit_and_limits() -> None:
    assert "--batch-size INTEGER Papers in a batch. [1 to 64; default: 16 papers]" in help_page(WithOneMore)
    assert "--batch-size" not in help_page(Example)
    assert run(WithOneMore, "in").batch_size == 16
    assert run(WithOneMore, "in", "--batch-size", "8").batch_size == 8


def test_a_field_is_a_key_of_the_configuration_file_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("batch_size = 32\nsource = 'papers'\n")
    assert run(WithOneMore, "--config", str(file)).batch_size == 32
    assert run(WithOneMore, "--config", str(file), "--batch-size", "8").batch_size == 8
    file.write_text("batchsize = 32\n")
    with pytest.raises(ConfigError, match=r"batchsize: no such setting; did you mean batch_size\?"):
        run(WithOneMore, "in", "--config", str(file))


def test_a_field_is_checked_wherever_its_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("batch_size = 65\n")
    with pytest.raises(ConfigError, match=r"a\.toml: batch_size: expected at most 64, got 65"):
        run(WithOneMore, "in", "--config", str(file))
    with pytest.raises(UsageError, match=r"^--batch-size: expected at least 1, got 0$"):
        run(WithOneMore, "in", "--batch-size", "0")
    with pytest.raises(UsageError, match=r"^--batch-size: expected a whole number, got '1e1'$"):
        run(WithOneMore, "in", "--batch-size", "1e1")
    with pytest.raises(UsageError, match=r"^--batch-size: the number is too large"):
        run(WithOneMore, "in", "--batch-size", "9" * 30)
    with pytest.raises(UsageError, match=r"^--most: expected a number, got 'half'$"):
        run(WithOneMore, "in", "--most", "half")
    with pytest.raises(UsageError, match=r"^SOURCE: the path is empty; give a path, or \. for the current folder$"):
        run(WithOneMore, "")


@pytest.mark.parametrize(
    "words", [("in", "--folder", "s3://key:hunter2@bucket/x"), ("in", "--folder", "s3://bucket/x")]
)
def test_an_option_for_a_place_here_takes_no_url_and_repeats_no_secret(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"^--folder: a URL cannot be used here; give a path on this machine$"):
        run(Example, *words)


def test_the_kinds_of_options_and_their_forms_on_the_command_line() -> None:
    page = help_page(Example)
    for text in (
        "SOURCE What to read.",
        "--graph [fp32|int8] Graph to run. [default: the fastest]",
        "--whole, --no-whole Read all of it. [default: no]",
        "--force Write anyway. [default: no]",
        "--earlier PATH_OR_URL Earlier output. [default: none; may be given several times]",
        "--most NUMBER Fail if there is more. [0 to 1; default: no limit]",
        "Examples: specter-batch example here",
    ):
        assert text in page
    assert "--no-force" not in page
    found = run(Example, "in", "--no-whole", "--force", "--earlier", "a", "--earlier", "b", "--most", "0.5")
    assert (found.whole, found.force, found.earlier) == (False, True, (Path("a"), Path("b")))
    assert found.limits.most == 0.5


def test_panels_are_those_of_the_sections_and_come_in_their_order() -> None:
    page = run(Example, "--help")
    headings = [line for line in page.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Arguments:", "Input:", "Model:", "Gates:", "Help:", "Examples:"]


def test_a_former_name_works_with_a_note_and_stands_in_no_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--precision" not in help_page(Example)
    file = tmp_path / "a.toml"
    file.write_text("precision = 'int8'\n")
    assert Example.load(file, {"source": "in"}).graph == "int8"
    note = "precision is now called graph; the next version refuses the old name\n"
    assert capsys.readouterr().err == f"warning: {file}: {note}"
    assert Example.load(None, {"source": "in", "precision": "fp32"}).graph == "fp32"
    assert capsys.readouterr().err == f"warning: --{note.replace('graph', '--graph')}"
    assert run(Example, "in", "--precision", "fp32").graph == "fp32"
    assert Example.load(file, {"source": "in", "graph": "fp32"}).graph == "fp32"


def test_a_command_may_have_the_options_of_some_sections_and_give_other_settings_itself() -> None:
    some: Any = Annotated[Example, Sections(Base, given={"graph": "fp32"})]
    page = help_page(some)
    assert "--rows" in page
    assert "--graph" not in page
    assert run(some, "in", "--rows", "7").model_dump(include={"rows", "graph"}) == {"rows": 7, "graph": "fp32"}


def test_a_missing_argument_that_no_file_can_hold_is_wrong_usage() -> None:
    assert "Missing argument 'SOURCE'" in run(Base)


def test_sections_come_in_the_order_of_their_fields() -> None:
    names = [option.name for option in declared_options(WithOneMore)]
    assert names == ["source", "rows", "graph", "whole", "force", "earlier", "folder", "most", "batch_size"]
