"""The `specter-batch` command: mounts what the layers register and turns errors into one line."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from typing import Annotated, Any, NoReturn

import typer

from specter_batch import __version__
from specter_batch.argument_checks import UrlOrPath, with_checked_arguments
from specter_batch.errors import SpecterBatchError
from specter_batch.options import EXIT_INTERRUPTED, AsJson
from specter_batch.terminal import os_error_text, prepare_streams, show, show_error, show_json, show_traceback

EXIT_COULD_NOT_START = 1
EXIT_WRONG_USAGE = 2

PROGRAM = "specter-batch"

# Adds a layer's commands.
Register = Callable[[typer.Typer], None]

# Set to anything, the traceback of an error is printed too.
DEBUG_VARIABLE = "SPECTER_BATCH_DEBUG"

# Typer does not export the class of all errors in what was typed.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


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


def inspect(
    bundle: Annotated[str, UrlOrPath(), typer.Argument(metavar="BUNDLE", help="Bundle folder or URL.")],
    as_json: AsJson = False,
) -> None:
    """Show what a model bundle holds, after checking every file in it."""
    from specter_batch.model.bundle import ModelBundle
    from specter_batch.storage.location import located

    place = located(bundle)
    manifest = ModelBundle.open(place).manifest
    if as_json:
        show_json(manifest.model_dump(mode="json"))
        return
    show(f"bundle {place}", f"fingerprint  {manifest.fingerprint}", f"encoder      {manifest.encoder}")
    show(f"made by      {manifest.created_by}")
    show(f"labels       {len(manifest.labels)}: {', '.join(manifest.labels)}")
    show(f"text         {manifest.text_template}, at most {manifest.max_length} tokens")
    show(f"head         {manifest.pooling} pooling, hidden layers {manifest.head.get('hidden_sizes') or 'none'}")
    show(f"temperature  {manifest.temperature:.4f}")
    for graph in manifest.graphs:
        margin = "" if graph.deferral_margin is None else f", defers under a margin of {graph.deferral_margin:.3f}"
        show(
            f"graph        {graph.file}: {graph.precision} for {graph.device}, opset {graph.opset}{margin}; parity "
            f"over {graph.parity.papers} papers: max Δlogit {graph.parity.max_logit_difference:.1e}, "
            f"{graph.parity.label_flips} flips"
        )
    validation = manifest.training.get("validation")
    macro_f1 = validation.get("macro_f1") if isinstance(validation, dict) else None
    if isinstance(macro_f1, float):
        show(f"validation   macro F1 {macro_f1:.4f}")


def registered() -> list[Register]:
    """Return what the layers register: the entry points `specter_batch.commands`, by name."""
    points = sorted(entry_points(group="specter_batch.commands"), key=lambda point: point.name)
    return [point.load() for point in points]


def build_app(layers: Iterable[Register] | None = None) -> typer.Typer:
    """Mount the commands of the layers, `registered` when None; what they are given is checked."""
    app = typer.Typer(
        name=PROGRAM,
        help="Label scientific papers with a fine-tuned SPECTER: train, export, and classify every night.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(root)
    app.command()(inspect)
    for register in registered() if layers is None else layers:
        register(app)
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = with_checked_arguments(command.callback)
    return app


def main(arguments: Sequence[str] | None = None, *, layers: Iterable[Register] | None = None) -> None:
    """Run a command line; every failure ends as one line on standard error and an exit code.

    Args:
        arguments: What follows the program's name; those of this process when None.
        layers: As of `build_app`.
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
        sys.exit(0)  # of click and rich, when the reader of what they print has gone away; no command leaves this way
    except SpecterBatchError as error:
        _fail(str(error), exit_code=error.exit_code)
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; this command needs: pip install 'specter-batch[export]'")
    except MemoryError:
        _fail("out of memory; give the process more memory, or ask for fewer workers, threads or rows at once")
    except OSError as error:
        _fail(os_error_text(error))
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 to see where)")
    sys.exit(code if isinstance(code, int) else 0)


def _wrong_usage(error: Any) -> NoReturn:
    """Print what is wrong with the command line, and where its help is."""
    message = error.format_message().replace("Value error, ", "")
    if message:  # without arguments the help was printed instead
        path = error.ctx.command_path if error.ctx else PROGRAM
        show_error(f"{message.rstrip('.')}; see {path} --help")
    sys.exit(EXIT_WRONG_USAGE)


def _fail(message: str, *, exit_code: int = EXIT_COULD_NOT_START) -> NoReturn:
    if os.environ.get(DEBUG_VARIABLE):
        show_traceback()
    show_error(message)
    sys.exit(exit_code)
