"""SIGTERM, as a scheduler sends it, ends a job as Ctrl-C does, and ends it soon."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from specter_batch.errors import SpecterBatchError
from specter_batch.start import EXIT_INTERRUPTED, settle

# What is running is dropped and tidied up within it. A store that hangs would take minutes, and schedulers kill a
# process that is not gone after 30 seconds or so.
GRACE_SECONDS = 20.0


class Interrupts:
    """What SIGINT and SIGTERM do in a `sigterm_interrupts` block.

    At first they raise `KeyboardInterrupt`. After `hold` the job is about to end by itself and is left to it. After
    `settle` its exit code is certain. In each case a job that is still there `GRACE_SECONDS` after a signal is ended.
    """

    def __init__(self) -> None:
        self.came = False
        self._held = False
        self._settled: int | None = None
        self._watchdog: threading.Timer | None = None

    def hold(self) -> None:
        """Let the job end by itself from now on: it is writing its last files."""
        self._held = True

    def settle(self, code: int) -> None:
        """Note the exit code: all is written, and no signal changes that."""
        self._held, self._settled = True, code
        settle(code)

    def interrupt(self, *_: object) -> None:
        """Handle a signal."""
        if not self.came:
            self.came = True
            self._watchdog = threading.Timer(GRACE_SECONDS, self._end)
            self._watchdog.daemon = True
            self._watchdog.start()
        if not self._held:
            raise KeyboardInterrupt

    def over(self) -> None:
        """Note that the job has ended."""
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _end(self) -> None:
        if self._settled is None:
            said = f"error: interrupted; the job did not end within {GRACE_SECONDS:.0f} s and was stopped. "
            with suppress(OSError):  # standard error is closed
                os.write(2, f"{said}What is finished is kept; run the same command again to resume\n".encode())
        os._exit(EXIT_INTERRUPTED if self._settled is None else self._settled)


@contextmanager
def sigterm_interrupts() -> Iterator[Interrupts]:
    """Let SIGTERM and SIGINT raise `KeyboardInterrupt`: the running piece is dropped, all finished ones stay.

    A library that is interrupted may raise an error of its own instead, as duckdb does in a query; such an error, too,
    leaves the block as `KeyboardInterrupt`. Ours say more than that, and stay.
    """
    signals = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.signal(number, signals.interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    except SpecterBatchError:
        raise
    except Exception as error:
        if signals.came:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signals.over()


@contextmanager
def sigint_is_heard() -> Iterator[None]:
    """Let SIGINT raise `KeyboardInterrupt` if it does nothing: a job in the background inherits that it is ignored."""
    ignored = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None)
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
