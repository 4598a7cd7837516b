"""SIGTERM, as a scheduler sends it, ends a job as Ctrl-C does."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from specter_batch.errors import SpecterBatchError


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM raise `KeyboardInterrupt`: the running piece is dropped, all finished ones stay.

    A library that is interrupted may raise an error of its own instead, as duckdb does in a query; such an error, too,
    leaves the block as `KeyboardInterrupt`. Ours say more than that, and stay.
    """
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SpecterBatchError:
        raise
    except Exception as error:
        if interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
