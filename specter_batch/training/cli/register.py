"""The training layer's commands; those of a larger topic lie in a module of their own."""

from pathlib import Path
from typing import Annotated

import typer

from specter_batch.terminal import output_console
from specter_batch.training.cli.embed import baseline, embed, project
from specter_batch.training.cli.evaluate import evaluate
from specter_batch.training.cli.scidocs import prepare_scidocs
from specter_batch.training.cli.train import train


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command("prepare-scidocs")(prepare_scidocs)
    app.command()(train)
    app.command()(evaluate)
    app.command()(baseline)
    app.command()(embed)
    app.command()(project)
    app.command()(demo)


def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for everything the demo makes.")],
) -> None:
    """Walk the whole road on synthetic papers: train, export, classify, report."""
    from specter_batch.training.demo.walk import run_demo

    run_demo(folder, console=output_console())
