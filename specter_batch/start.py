"""The start and the end of the `specter-batch` command, what signals do, and the exit code if one arrives.

Only modules that load quickly are imported here, so that the signal handlers are in place before the slow imports.
While a command works, it may install other handlers (`sigterm_interrupts`). Afterwards the first ones are restored.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from specter_batch.errors import SpecterBatchError

EXIT_INTERRUPTED = 130
# pyarrow's allocator keeps freed memory for a while, which raises the peak memory of a night of long texts by a fifth.
# The allocator reads this variable when pyarrow is loaded. With 0, freed memory is returned at once.
ALLOCATOR_DELAY = "MIMALLOC_PURGE_DELAY"
# PyTorch's threads wait for each other after every product. By default they wait in a busy loop: on a machine whose
# cores are in use they take processor time from the threads that they wait for, and training takes several times as
# long. OpenMP reads these variables when PyTorch is loaded; the first is the standard's own, the others are of GCC and
# LLVM.
OPENMP_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# How long an interrupted process may still take to exit, in seconds.
LAST_SECONDS = 5.0

_settled: int | None = None
# Whether this process runs nothing but the command line, so that no other code shares its libraries.
_is_alone = False

# What is running is dropped and tidied up within it. A store that hangs would take minutes, and schedulers kill a
# process that is not gone after 30 seconds or so.
GRACE_SECONDS = 20.0


def settle(code: int) -> None:
    """Fix the exit code: the work is done, and later errors in printing do not change the code."""
    global _settled
    _settled = code


def settled() -> int | None:
    """Return the exit code that `settle` fixed, or None while the work is not done."""
    return _settled


class _NoPandas:
    """An import hook that finds no pandas."""

    @staticmethod
    def find_spec(fullname: str, *_: object) -> None:
        """Leave all other modules to the other finders."""
        if fullname == "pandas":
            raise ModuleNotFoundError(name=fullname)


def keep_pandas_out() -> None:
    """Let pyarrow do without pandas, in a process of the command line.

    With the first value that it converts, pyarrow imports pandas if it is installed, to recognise values of pandas.
    This takes 0.4 s, and the nightly job has no such values. Code that asks for pandas later still gets it.
    """
    if not _is_alone or "pandas" in sys.modules:
        return
    import pyarrow as pa

    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.scalar(0)  # pyarrow looks for pandas once
    finally:
        sys.meta_path.remove(_NoPandas)


def run_alone() -> None:
    """Note that this process runs nothing but the command line, or a worker of it."""
    global _is_alone
    _is_alone = True


def main() -> None:
    """Run the command line."""
    run_alone()
    os.environ.setdefault(ALLOCATOR_DELAY, "0")
    if not any(name in os.environ for name in OPENMP_WAITING):
        os.environ[OPENMP_WAITING[0]] = "PASSIVE"
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
