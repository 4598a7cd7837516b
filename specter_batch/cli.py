"""The `specter-batch` command: mounts what the layers register and turns errors into one line."""

import os
import sys
import traceback
from importlib.metadata import entry_points

import typer

from specter_batch import __version__
from specter_batch.errors import SpecterBatchError

EXIT_COULD_NOT_START = 1
EXIT_INTERRUPTED = 130

# Set to anything, the traceback of an error is printed too.
DEBUG_VARIABLE = "SPECTER_BATCH_DEBUG"

app = typer.Typer(
    name="specter-batch",
    help="Label scientific papers with a fine-tuned SPECTER: train, export, and classify every night.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"specter-batch {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Label scientific papers with a fine-tuned SPECTER: train, export, and classify every night."""


def build_app() -> typer.Typer:
    """Mount the sub-commands that the layers registered as `specter_batch.commands` entry points."""
    for point in sorted(entry_points(group="specter_batch.commands"), key=lambda point: point.name):
        point.load()(app)
    return app


def main() -> None:
    """Run the command line; every failure ends as one line on standard error and an exit code."""
    try:
        build_app()()
    except KeyboardInterrupt:
        _fail("interrupted", code=EXIT_INTERRUPTED)
    except SpecterBatchError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; this command needs: pip install 'specter-batch[export]'")
    except OSError as error:
        _fail(str(error))
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 to see where)")


def _fail(message: str, *, code: int = EXIT_COULD_NOT_START) -> None:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(code)
