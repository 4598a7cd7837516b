"""What surrounds a training in its commands: Ctrl-C and the log."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console

from specter_batch.options.command import interruptible
from specter_batch.terminal import error_console


@contextmanager
def training_surroundings() -> Iterator[Console | None]:
    """Yield the console for progress; None in a process that reports nothing.

    torchrun starts a command once per device, and the first process reports.
    """
    from specter_batch.logs import logging_to

    console = error_console() if os.environ.get("RANK", "0") == "0" else None
    with ExitStack() as stack:
        stack.enter_context(interruptible("run the same command again to resume from what is saved"))
        if console is not None:
            stack.enter_context(logging_to(console, work="training"))
        yield console
