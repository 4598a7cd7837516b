"""The start and the end of the `specter-batch` command, and the exit code if a signal arrives there.

Only modules that load quickly are imported here, so that the signal handlers are in place before the slow imports.
While a command works, it may install its own handlers (`specter_jobs.interrupts`). Afterwards ours are restored.
"""

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

EXIT_INTERRUPTED = 130
# pyarrow's allocator keeps freed memory for a while, which raises the peak memory of a night of long texts by a fifth.
# The allocator reads this variable when pyarrow is loaded. With 0, freed memory is returned at once.
ALLOCATOR_DELAY = "MIMALLOC_PURGE_DELAY"
# How long an interrupted process may still take to exit, in seconds.
LAST_SECONDS = 5.0

_settled: int | None = None


def settle(code: int) -> None:
    """Fix the exit code: the work is done, and later errors in printing do not change the code."""
    global _settled
    _settled = code


def settled() -> int | None:
    """Return the exit code that `settle` fixed, or None while the work is not done."""
    return _settled


def main() -> None:
    """Run the command line."""
    os.environ.setdefault(ALLOCATOR_DELAY, "0")
    # Registered first, so called last: after it Python removes its handlers, and SIGTERM would change the exit code.
    atexit.register(signal.signal, signal.SIGTERM, signal.SIG_IGN)
    before = signal.signal(signal.SIGTERM, _end)
    assert before is not None  # noqa: S101 - nothing but Python has set handlers yet
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # else it is ignored, as for jobs that a shell put in the background
        signal.signal(signal.SIGINT, _end)
    from specter_batch.cli import main as run

    signal.signal(signal.SIGINT, interrupt)
    code: str | int | None = 0
    try:
        run()
    except SystemExit as end:
        code = end.code
    if _settled is None:
        settle(code if isinstance(code, int) else EXIT_INTERRUPTED if code else 0)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    if _settled == EXIT_INTERRUPTED:  # threads that wait for a hanging store would delay the exit for minutes
        last = threading.Timer(LAST_SECONDS, os._exit, [EXIT_INTERRUPTED])
        last.daemon = True
        last.start()
    sys.exit(_settled)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Exit at once. This is safe, because no work is under way while modules load or after the command is done."""
    if _settled is None:
        with suppress(OSError):  # standard error is closed
            os.write(2, b"error: interrupted before the work began; run the same command again\n")
    os._exit(EXIT_INTERRUPTED if _settled is None else _settled)
