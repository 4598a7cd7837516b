"""The job layer's commands: classify."""

import typer


def register(app: typer.Typer) -> None:
    """Mount the commands."""
