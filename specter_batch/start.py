"""The first and the last instants of the `specter-batch` command: which exit code a signal gives there.

Only modules that load in an instant are imported here: a signal that comes while the others load must find its handler.
While a command works it may have handlers of its own (`specter_jobs.interrupts`), which ours come back after.
"""

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

EXIT_INTERRUPTED = 130
# pyarrow's allocator keeps freed memory for a while, which a night of long texts pays with a fifth more memory at its
# peak. The allocator reads this variable when pyarrow is loaded; 0 means that freed memory is given back at once.
ALLOCATOR_DELAY = "MIMALLOC_PURGE_DELAY"
# Given to an interrupted process that has nothing left to do.
LAST_SECONDS = 5.0

_settled: int | None = None


def settle(code: int) -> None:
    """Note that the work is done and that the command will end with this exit code, whatever happens to its output."""
    global _settled
    _settled = code


def settled() -> int | None:
    """Return the exit code that is certain, or None while the work is not done."""
    return _settled


def main() -> None:
    """Run the command line."""
    os.environ.setdefault(ALLOCATOR_DELAY, "0")
    # Registered first, so called last: Python then takes its handlers away, and a signal would give a code of its own.
    atexit.register(signal.signal, signal.SIGTERM, signal.SIG_IGN)
    before = signal.signal(signal.SIGTERM, _end)
    assert before is not None  # noqa: S101 - nothing but Python has set handlers yet
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # a job in the background may have inherited that it is ignored
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
    if _settled == EXIT_INTERRUPTED:  # threads that wait for a store that hangs would hold up the end for minutes
        last = threading.Timer(LAST_SECONDS, os._exit, [EXIT_INTERRUPTED])
        last.daemon = True
        last.start()
    sys.exit(_settled)


def _end(_number: int, _frame: FrameType | None) -> None:
    """End at once: nothing is half done while modules load, nor when all work is done."""
    if _settled is None:
        with suppress(OSError):  # standard error is closed
            os.write(2, b"error: interrupted before the work began; run the same command again\n")
    os._exit(EXIT_INTERRUPTED if _settled is None else _settled)
