"""The `specter-batch` command: finds the commands that the layers register and turns errors into one line."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points, requires
from typing import Any, ClassVar, NoReturn

import typer
from typer.core import TyperGroup

from specter_batch import __version__
from specter_batch.errors import SpecterBatchError
from specter_batch.start import EXIT_INTERRUPTED
from specter_batch.terminal import os_error_text, prepare_streams, show, show_error, show_traceback

EXIT_COULD_NOT_START = 1
EXIT_WRONG_USAGE = 2

PROGRAM = "specter-batch"

# The commands of a layer: name -> (the function, or its place as "module:function"; what the command does).
Layer = Mapping[str, tuple[str | Callable[..., None], str]]
# The core's own commands.
COMMANDS: Layer = {
    "inspect": (
        "specter_batch.inspect_bundle:inspect",
        "Show what a model bundle holds, after checking every file in it.",
    ),
    "embed": (
        "specter_batch.embed_papers:embed",
        "Write the embeddings of papers to parquet, from a bundle, a run or a pretrained encoder.",
    ),
    "push": (
        "specter_batch.push_bundle:push",
        "Upload a model bundle to the Hugging Face hub in one commit, after checking every file in it.",
    ),
}

# The entry points of the layers.
LAYERS = "specter_batch.commands"
# Packages that are not called like the distribution that holds them.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "optimum": "optimum-onnx"}
_FOR_DEVELOPERS = ("dev", "docs")

# If this variable is set, whatever its value, the traceback of an error is printed too.
DEBUG_VARIABLE = "SPECTER_BATCH_DEBUG"

# The base class of all usage errors, which Typer does not export.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class Listed(Mapping[str, tuple[str | Callable[..., None], str]]):
    """The commands of all layers. A layer is imported only when no layer before it has the command looked up.

    Args:
        layers: The layers, in the order in which they are searched.
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._known = dict(COMMANDS)
        self._others = iter(layers)

    def __getitem__(self, name: str) -> tuple[str | Callable[..., None], str]:
        while name not in self._known:
            layer = next(self._others, None)
            if layer is None:
                raise KeyError(name)
            self._known |= layer
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        for layer in self._others:
            self._known |= layer
        return iter(self._known)

    def __len__(self) -> int:
        return len(list(iter(self)))


class Commands(Mapping[str, Any]):
    """The commands by name; the module of a command is imported when the command is looked up."""

    def __init__(self, listed: Layer) -> None:
        self._listed = listed

    def __getitem__(self, name: str) -> Any:
        from specter_batch.options.command import typer_command

        function, _ = self._listed[name]
        if isinstance(function, str):
            module, _, attribute = function.partition(":")
            function = getattr(import_module(module), attribute)
        return typer_command(name, function)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


class CommandGroup(TyperGroup):
    """The group of all commands. The help page imports none of their modules.

    Attributes:
        listed: The commands of all layers.
    """

    listed: ClassVar[Layer] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = Commands(self.listed)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Return the names of the commands."""
        return list(self.listed)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Write the name and the description of each command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.listed.items()])


def _print_version(wanted: bool) -> None:
    if wanted:
        show(f"specter-batch {__version__}")
        raise typer.Exit


def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Label scientific papers with a fine-tuned SPECTER: train, export, and classify every night."""


def registered() -> Iterator[Layer]:
    """Yield the layers that are registered under the entry points `specter_batch.commands`.

    The nightly job's layer comes first, so that running the job imports no other layer.
    """
    points = sorted(entry_points(group=LAYERS), key=lambda point: (point.name != "jobs", point.name))
    return (point.load() for point in points)


def build_app(layers: Iterable[Layer] | None = None) -> typer.Typer:
    """Build the Typer app from the commands of the layers. Without `layers`, `registered()` finds them."""
    listed = Listed(registered() if layers is None else layers)
    app = typer.Typer(
        name=PROGRAM,
        cls=type("CommandGroup", (CommandGroup,), {"listed": listed}),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(root)
    return app


def main(arguments: Sequence[str] | None = None, *, layers: Iterable[Layer] | None = None) -> None:
    """Run a command line; every failure ends as one line on standard error and an exit code.

    Args:
        arguments: The words after the program's name; the arguments of this process when None.
        layers: The layers to pass to `build_app`.
    """
    prepare_streams()
    try:
        command = typer.main.get_command(build_app(layers))
        code = command(None if arguments is None else list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except UsageError as error:
        _wrong_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", exit_code=EXIT_INTERRUPTED)
    except SystemExit:
        sys.exit(0)  # raised by click and rich when a pipe such as `| head` is closed; no command ends this way
    except SpecterBatchError as error:
        _fail(str(error), exit_code=error.exit_code)
    except ModuleNotFoundError as error:
        command_line = sys.argv[1:] if arguments is None else list(arguments)
        needed = _remedy((error.name or "").partition(".")[0], command=next(iter(command_line), ""))
        _fail(f"{error.name} is not installed; this command needs: pip install {needed}")
    except MemoryError:
        _fail("out of memory; give the process more memory, or ask for fewer workers, threads or rows at once")
    except OSError as error:
        _fail(os_error_text(error))
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 to see where)")
    sys.exit(code if isinstance(code, int) else 0)


def _remedy(package: str, *, command: str) -> str:
    """Return what pip must install for a command that needs a package: one of our extras, or the package itself."""
    wanted = _DISTRIBUTIONS.get(package, package).lower().replace("_", "-")
    extras = []
    for requirement in requires(PROGRAM) or ():
        found = re.fullmatch(r"([\w.-]+).*\bextra == [\"']([\w-]+)[\"']", requirement)
        if found and found[1].lower().replace("_", "-") == wanted and found[2] not in _FOR_DEVELOPERS:
            extras.append(found[2])
    # A layer with packages of its own has the name of its extra.
    of_command = [point.name for point in entry_points(group=LAYERS) if command in point.load()]
    chosen = next((extra for extra in of_command if extra in extras), next(iter(sorted(extras, key=len)), None))
    return f"'{PROGRAM}[{chosen}]'" if chosen else package


def _wrong_usage(error: Any) -> NoReturn:
    """Print what is wrong with the command line and which `--help` to read, and exit with code 2."""
    message = error.format_message()
    if type(error.__cause__).__name__ == "ValidationError":  # pydantic's, with which Typer converts values
        from specter_batch.settings.problems import option_problem

        message = f"{max(error.param.opts, key=len)}: {option_problem(error.__cause__)}"
    if typed := getattr(error, "option_name", None) if hasattr(error, "possibilities") else None:
        from specter_batch.options.command import option_meant

        meant = option_meant(error.ctx.command, typed)
        message = f"no such option {typed}" + (f"; did you mean {meant}?" if meant else "")
    # Without arguments the message is the help page. The class belongs to Typer's own copy of click and is not public.
    if type(error).__name__ == "NoArgsIsHelpError":
        show(*message.splitlines())
    else:
        path = error.ctx.command_path if error.ctx else PROGRAM
        sentence = f"{message} See" if message.endswith("?") else f"{message.rstrip('.')}; see"
        show_error(f"{sentence} {path} --help")
    sys.exit(EXIT_WRONG_USAGE)


def _fail(message: str, *, exit_code: int = EXIT_COULD_NOT_START) -> NoReturn:
    if os.environ.get(DEBUG_VARIABLE):
        show_traceback()
    show_error(message)
    sys.exit(exit_code)
