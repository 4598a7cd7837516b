"""How a command ends when it is interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from specter_batch.start import EXIT_INTERRUPTED
from specter_batch.terminal import show_error


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """Turn Ctrl-C, and what counts as it, into one line with advice and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        show_error(f"interrupted; {advice}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
