import os
import signal
import subprocess
import sys

import pytest

from specter_batch.errors import StorageError
from specter_batch.start import sigint_is_heard, sigterm_interrupts

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


HANGS = """
import os, signal, sys, time
from specter_batch import start
start.GRACE_SECONDS = 0.5
with start.sigterm_interrupts() as signals:
    {before}
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        pass
    time.sleep(20)  # as a store that does not answer
"""


@pytest.mark.parametrize(
    ("before", "code", "said"),
    [
        ("pass", 130, "the job did not end within 0 s"),
        ("signals.hold()", 130, "the job did not end within 0 s"),
        ("signals.settle(0)", 0, ""),
        ("signals.settle(4)", 4, ""),
    ],
)
def test_a_job_that_does_not_end_by_itself_is_ended(before: str, code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS.format(before=before)], capture_output=True, text=True, check=False, timeout=15
    )
    assert done.returncode == code
    assert said in done.stderr


def test_a_job_that_writes_its_last_files_is_left_to_it() -> None:
    with sigterm_interrupts() as signals:
        signals.hold()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.came


def test_a_sigint_that_is_ignored_by_inheritance_is_heard() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), sigint_is_heard():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
