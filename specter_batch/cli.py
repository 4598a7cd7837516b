"""The `specter-batch` command: mounts what the layers register and turns errors into one line."""

import os
import sys
import traceback
from importlib.metadata import entry_points
from typing import Annotated

import typer

from specter_batch import __version__
from specter_batch.errors import SpecterBatchError
from specter_batch.options import AsJson

EXIT_COULD_NOT_START = 1

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


@app.command()
def inspect(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Bundle folder or URL.")], as_json: AsJson = False
) -> None:
    """Show what a model bundle holds, after checking every file in it."""
    from specter_batch.bundle import ModelBundle
    from specter_batch.storage import located

    place = located(bundle)
    manifest = ModelBundle.open(place).manifest
    if as_json:
        typer.echo(manifest.model_dump_json())
        return
    typer.echo(f"bundle {place}\nfingerprint  {manifest.fingerprint}\nencoder      {manifest.encoder}")
    typer.echo(f"made by      {manifest.created_by}")
    typer.echo(f"labels       {len(manifest.labels)}: {', '.join(manifest.labels)}")
    typer.echo(f"text         {manifest.text_template}, at most {manifest.max_length} tokens")
    typer.echo(f"head         {manifest.pooling} pooling, hidden layers {manifest.head.get('hidden_sizes') or 'none'}")
    typer.echo(f"temperature  {manifest.temperature:.4f}")
    for graph in manifest.graphs:
        margin = "" if graph.deferral_margin is None else f", defers under a margin of {graph.deferral_margin:.3f}"
        typer.echo(
            f"graph        {graph.file}: {graph.precision} for {graph.device}, opset {graph.opset}{margin}; parity "
            f"over {graph.parity.papers} papers: max Δlogit {graph.parity.max_logit_difference:.1e}, "
            f"{graph.parity.label_flips} flips"
        )
    validation = manifest.training.get("validation")
    if isinstance(validation, dict) and validation.get("macro_f1") is not None:
        typer.echo(f"validation   macro F1 {validation['macro_f1']:.4f}")


def build_app() -> typer.Typer:
    """Mount the sub-commands that the layers registered as `specter_batch.commands` entry points."""
    for point in sorted(entry_points(group="specter_batch.commands"), key=lambda point: point.name):
        point.load()(app)
    return app


def main() -> None:
    """Run the command line; every failure ends as one line on standard error and an exit code."""
    try:
        build_app()()
    except SpecterBatchError as error:
        _fail(str(error), exit_code=error.exit_code)
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; this command needs: pip install 'specter-batch[export]'")
    except OSError as error:
        _fail(str(error))
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 to see where)")


def _fail(message: str, *, exit_code: int = EXIT_COULD_NOT_START) -> None:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(exit_code)
