"""The message and exit code of a command that is interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from specter_batch.start import EXIT_INTERRUPTED
from specter_batch.terminal import show_error


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """Turn a KeyboardInterrupt (Ctrl-C) into one line with advice and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        show_error(f"interrupted; {advice}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
