"""The lock object of an output folder in a store."""

import os
import signal
import threading
import time
from contextlib import AbstractContextManager

import pytest

from specter_batch.errors import BusyError, StorageError
from specter_batch.storage.files import write_text
from specter_batch.storage.output_claim import LOCK_FILE, this_process
from specter_batch.storage.url_path import UrlPath
from specter_jobs.output.folder import output_folder, store_lock
from specter_jobs.output.folder.store_lock import STALE_SECONDS, Claim, Pace, lock_object_held, read_claim
from support.servers.s3_server import S3Server

OTHER = "process 7 on far-away"


def claim(*, silent: float, machine: str | None = "another kernel", pid: int = 7) -> Claim:
    return Claim(holder=OTHER, token="other", pid=pid, machine=machine, beat=time.time() - silent)  # noqa: S106


@pytest.fixture
def out(s3: S3Server) -> UrlPath:
    """Return a folder in a store."""
    return s3.path("out")


def held(out: UrlPath, *, settle: float = 0.05) -> AbstractContextManager[None]:
    """Hold the lock of a folder in a store, which beats faster than in earnest."""
    return lock_object_held(out / LOCK_FILE, holder=this_process(), pace=Pace(beat=0.05, settle=settle))


def test_a_lock_is_held_kept_fresh_and_given_back(out: UrlPath) -> None:
    with held(out):
        first = read_claim(out / LOCK_FILE)
        assert first is not None
        assert first.pid == os.getpid()
        time.sleep(0.5)
        later = read_claim(out / LOCK_FILE)
        assert later is not None
        assert (later.token, later.beat > first.beat) == (first.token, True)
        assert output_folder(out).holder() == first.holder
    assert output_folder(out).holder() is None
    assert not (out / LOCK_FILE).exists()


def test_the_lock_of_an_output_in_a_store_is_this_object(out: UrlPath) -> None:
    with output_folder(out).locked():
        assert output_folder(out).holder() == this_process()
        with pytest.raises(BusyError), held(out):
            raise AssertionError
    assert output_folder(out).holder() is None


def test_a_lock_is_given_back_when_the_job_fails(out: UrlPath) -> None:
    with pytest.raises(RuntimeError), held(out):
        raise RuntimeError
    assert not (out / LOCK_FILE).exists()


def test_a_job_on_another_machine_that_was_heard_of_holds_it(out: UrlPath) -> None:
    write_text(out / LOCK_FILE, claim(silent=STALE_SECONDS - 10).model_dump_json())
    with pytest.raises(BusyError, match=f"{OTHER} is at work in this folder.* heartbeat was 110 s ago"), held(out):
        raise AssertionError
    assert output_folder(out).holder() == OTHER


@pytest.mark.parametrize(
    "left",
    [
        claim(silent=STALE_SECONDS + 1),
        claim(silent=0, machine=store_lock._machine(), pid=2**22 + 1),
    ],
    ids=["silent for long", "a dead process of this machine"],
)
def test_a_lock_that_was_left_behind_is_taken_over(out: UrlPath, left: Claim) -> None:
    write_text(out / LOCK_FILE, left.model_dump_json())
    assert output_folder(out).holder() is None
    with held(out):
        assert output_folder(out).holder() == f"process {os.getpid()} on {os.uname().nodename}"


def test_half_a_lock_is_none(out: UrlPath) -> None:
    write_text(out / LOCK_FILE, "{")
    with held(out):
        pass


def test_of_two_that_take_over_at_once_one_stops(out: UrlPath) -> None:
    write_text(out / LOCK_FILE, claim(silent=STALE_SECONDS + 1).model_dump_json())

    def take_over_too() -> None:
        while output_folder(out).holder() != this_process():
            time.sleep(0.01)
        write_text(out / LOCK_FILE, claim(silent=0).model_dump_json())

    other = threading.Thread(target=take_over_too, daemon=True)
    other.start()
    with pytest.raises(BusyError, match=OTHER), held(out, settle=2.0):
        raise AssertionError
    other.join()


@pytest.mark.parametrize("inherited", [signal.SIG_IGN, signal.SIG_DFL, signal.default_int_handler])
def test_a_job_whose_lock_was_taken_over_stops_and_leaves_it_alone(out: UrlPath, inherited: signal.Handlers) -> None:
    before = signal.signal(signal.SIGINT, inherited)  # a job in the background inherits that it is ignored
    try:
        with pytest.raises(StorageError, match=f"out: {OTHER} has taken over the lock; this job stops"), held(out):
            write_text(out / LOCK_FILE, claim(silent=0).model_dump_json())
            for _ in range(200):
                time.sleep(0.05)
        assert signal.getsignal(signal.SIGINT) is inherited
    finally:
        signal.signal(signal.SIGINT, before)
    assert output_folder(out).holder() == OTHER
