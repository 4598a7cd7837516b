"""What surrounds a training in its commands: Ctrl-C, the log, and a standard output for the result alone."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

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
        # Libraries print notices to standard output, which is reserved for the result.
        stack.enter_context(redirect_stdout(sys.stderr))
        if console is not None:
            stack.enter_context(logging_to(console, work="training"))
        yield console
