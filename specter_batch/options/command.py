"""Commands whose options are made from settings classes, and how their help pages look."""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer
from pydantic import Field
from typer.core import TyperCommand

from specter_batch.settings import Settings
from specter_batch.settings.declaration import DeclaredOption, Option, declared_options, spelled
from specter_batch.start import EXIT_INTERRUPTED
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import output_only_for_results, show_error

ARGUMENTS, HELP = "Arguments", "Help"
LAST_PANELS = ("Output", "Cluster", HELP)


class Sections:
    """A mark in `Annotated[Settings, Sections(…)]`: the command only has the options of these sections.

    Args:
        sections: The settings classes whose fields are options of the command.
        given: Values of settings that the command sets itself.
    """

    def __init__(self, *sections: type[Settings], given: Mapping[str, Any] | None = None) -> None:
        self.names = {name for section in sections for name in section.model_fields}
        self.given = given or {}


class ConfigFile(Settings):
    """The `--config` option of commands whose settings may be in a file."""

    panel: ClassVar[str] = "Input"

    config: Annotated[LocalPath | None, Option(metavar="FILE", default="no file")] = Field(
        default=None, description="TOML file of settings. An option on the command line overrides the file."
    )


@dataclass(frozen=True)
class _Source:
    """The options that fill one parameter of a command."""

    settings: type[Settings]
    options: tuple[DeclaredOption, ...]
    given: Mapping[str, Any]

    @classmethod
    def of(cls, hint: Any) -> "_Source":
        settings, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        only = next((mark for mark in marks if isinstance(mark, Sections)), None)
        options = tuple(one for one in declared_options(settings) if only is None or one.path[0] in only.names)
        if settings.may_be_in_a_file:
            options += tuple(declared_options(ConfigFile))
        return cls(settings, options, only.given if only else {})

    def read(self, values: Mapping[str, Any]) -> Settings:
        """Make the settings from the values of the command line."""
        flags: dict[str, Any] = {}
        for option in self.options:
            *above, name = option.path
            section = flags
            for key in above:
                section = section.setdefault(key, {})
            section[name] = _values(values[name], option) if option.is_repeated else values[name]
            if option.former_name:
                section[option.former_name] = values[option.former_name]
        given = flags.pop("config", None) if self.settings.may_be_in_a_file else None
        file = ConfigFile.load(None, {"config": given}).config
        return self.settings.load(file, {**flags, **self.given})


def command(*examples: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn a function whose parameters are settings classes into a command. The fields become its options.

    Args:
        examples: Command lines that are printed at the end of the help page.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        sources = {name: _Source.of(hint) for name, hint in hints.items() if name != "return"}

        def run(**values: Any) -> None:
            with output_only_for_results():
                function(**{name: source.read(values) for name, source in sources.items()})

        parameters = [
            one for source in sources.values() for option in source.options for one in _parameters(option, source)
        ]
        run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.examples, run.sources = examples, tuple(sources.values())  # type: ignore[attr-defined]
        return run

    return decorate


def _parameters(declared: DeclaredOption, source: _Source) -> list[inspect.Parameter]:
    """Return the parameters from which Typer makes an option, and a second one for its old name if it has one."""
    kind: Any = list[declared.value_type] if declared.is_repeated else declared.value_type  # type: ignore[name-defined]
    kind = tuple[str, str] if declared.is_pair else kind
    must_be_given = declared.field.is_required() and not source.settings.may_be_in_a_file
    about: dict[str, Any] = {"help": declared.help, "show_default": False, "metavar": declared.metavar or None}
    if declared.value_type in (int, float):
        about["parser"] = _reader_of(declared.value_type)
    if declared.option.argument:
        info: Any = typer.Argument(**about | {"metavar": declared.option.argument})
    else:
        info = typer.Option(*_spellings(declared), rich_help_panel=declared.panel, **about)
    default = inspect.Parameter.empty if must_be_given else None
    hints = [(declared.name, info, default)]
    if declared.former_name:
        hints.append((declared.former_name, typer.Option(hidden=True, **about), None))
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind if default is not None else kind | None, info],
        )
        for name, info, default in hints
    ]


def _values(texts: Sequence[Any] | None, declared: DeclaredOption) -> Sequence[Any] | None:
    """Return the values of an option that may be given several times; None if it is not given."""
    separator = declared.option.separator
    if separator is None or not texts:
        return texts or None
    return [value.strip() for text in texts for value in text.split(separator)]


def _reader_of(kind: type[int] | type[float]) -> Callable[[str], float | str]:
    """Return a function that reads a number; other text stays text, and the settings class says what is wrong."""

    def read(text: str) -> float | str:
        try:
            return kind(text)
        except ValueError:
            return text

    read.__name__ = kind.__name__
    return read


def _spellings(declared: DeclaredOption) -> tuple[str, ...]:
    if declared.is_flag and declared.option.negative:
        return (f"{declared.spelling}/--no-{declared.spelling.removeprefix('--')}",)
    return (declared.spelling,)


class CommandPage(TyperCommand):
    """A command whose help page groups the options in panels and ends with examples to paste."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line; optional ones are in brackets."""
        arguments = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        return ["[OPTIONS]", *(f"{one.metavar}" if one.required else f"[{one.metavar}]" for one in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write each panel. A name that is too long for its column gets a separate line, so no name is cut."""
        panels: dict[str, list[tuple[str, str]]] = {ARGUMENTS: []}
        parameters: list[Any] = self.get_params(ctx)
        for parameter in sorted(parameters, key=lambda one: not one.required):
            if not getattr(parameter, "hidden", False):
                panels.setdefault(_panel(parameter), []).append((_names(parameter), parameter.help))
        last = {panel: panels.pop(panel) for panel in LAST_PANELS if panel in panels}
        for panel, rows in {**panels, **last}.items():
            if rows:
                with formatter.section(panel):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Write the examples without wrapping, so that each line can be pasted."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _panel(parameter: Any) -> str:
    """Return the panel, a heading, that an option or argument is listed under."""
    is_argument = parameter.param_type_name == "argument"
    return ARGUMENTS if is_argument else getattr(parameter, "rich_help_panel", None) or HELP


def _names(parameter: Any) -> str:
    """Return the spellings of an option and its metavar, or the name of an argument."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} {parameter.metavar}"


def option_meant(command: Any, typed: str) -> str | None:
    """Return the option of a command that is closest to a misspelled one, or None if none is similar."""
    names = {name: name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    for source in getattr(command.callback, "sources", ()):
        names |= {spelled(one.former_name): one.spelling for one in source.options if one.former_name}
    close = difflib.get_close_matches(typed, names, n=1)
    return names[close[0]] if close else None


def typer_command(name: str, function: Callable[..., None]) -> Any:
    """Return the command that Typer makes from a function."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    examples = "\n".join(getattr(function, "examples", ()))
    app.command(name, cls=CommandPage, epilog=examples or None)(function)
    return typer.main.get_command(app)


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """Turn a KeyboardInterrupt (Ctrl-C) into one line with advice and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        show_error(f"interrupted; {advice}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
