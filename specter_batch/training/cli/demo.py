"""The command that runs every step on synthetic papers: demo."""

from typing import Annotated

from pydantic import Field

from specter_batch.options.command import command
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import output_console


class DemoOptions(Settings):
    """Options of `demo`."""

    folder: Annotated[LocalPath, Option(argument="DIR")] = Field(
        description="New folder for everything that the demo makes."
    )


@command("specter-batch demo first-run")
def demo(options: DemoOptions) -> None:
    """Run every step on synthetic papers: train, export, classify, report."""
    from specter_batch.training.demo.walk import run_demo

    run_demo(options.folder, console=output_console())
