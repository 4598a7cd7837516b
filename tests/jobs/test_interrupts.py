import os
import signal

import pytest

from specter_batch.errors import StorageError
from specter_jobs.interrupts import sigterm_interrupts

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_and_the_old_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        os.kill(os.getpid(), number)
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_a_library_that_makes_another_error_of_it_does_not_hide_it() -> None:
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("Query interrupted") from interrupt


def test_what_we_have_to_say_ourselves_is_not_hidden() -> None:
    with pytest.raises(StorageError, match="another job"), sigterm_interrupts():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise StorageError("another job has taken it over") from interrupt


def test_an_error_of_its_own_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="no interrupt"), sigterm_interrupts():
        raise RuntimeError("no interrupt")
