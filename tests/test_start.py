"""Exit codes of the command when a signal comes before the work began, or after it was done."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

from specter_batch.start import EXIT_INTERRUPTED, OPENMP_WAITING


def run_with_cli(body: str) -> "subprocess.Popen[str]":
    """Start the command with a stand-in for the command line, whose body is given."""
    code = f"""
    import sys, types, os, signal, time
    cli = types.ModuleType("specter_batch.cli")
    def main():
        {body}
    cli.main = main
    sys.modules["specter_batch.cli"] = cli
    from specter_batch.start import main, settle
    main()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("wait", [0.2, 0.4, 0.8])
def test_sigterm_while_modules_load_is_an_interruption(wait: float) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "specter_batch", "classify", "no-such-dump", "out"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:  # so that a slow machine has come as far as a quick one
            if "specter_batch.start" in line:
                break
        time.sleep(wait)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert process.returncode in (EXIT_INTERRUPTED, 1, 2)  # or it was quicker than the signal


def test_a_signal_during_the_start_says_what_to_do() -> None:
    said = run_with_cli("os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)")
    assert said.communicate()[1] == "error: interrupted before the work began; run the same command again\n"
    assert said.returncode == EXIT_INTERRUPTED


@pytest.mark.parametrize("code", [0, 3, 4])
def test_a_signal_after_the_work_is_done_does_not_change_the_exit_code(code: int) -> None:
    process = run_with_cli(f"settle({code}); os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)")
    assert (process.communicate()[1], process.returncode) == ("", code)


def test_what_becomes_of_the_output_does_not_change_the_exit_code_either() -> None:
    process = run_with_cli("settle(0); sys.exit(1)")
    process.communicate()
    assert process.returncode == 0


def test_sigterm_while_the_interpreter_ends_leaves_the_exit_code() -> None:
    body = "import atexit; atexit.register(lambda: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(5))); sys.exit(3)"
    process = run_with_cli(body)
    process.communicate()
    assert process.returncode == 3


def test_threads_that_hang_do_not_hold_up_the_end_of_an_interrupted_job() -> None:
    began = time.monotonic()
    process = run_with_cli("import threading; threading.Thread(target=time.sleep, args=(60,)).start(); sys.exit(130)")
    process.communicate()
    assert process.returncode == EXIT_INTERRUPTED
    assert time.monotonic() - began < 30


def test_an_ignored_sigint_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = run_with_cli("os.kill(os.getpid(), signal.SIGINT); sys.exit(4)")
    finally:
        signal.signal(signal.SIGINT, before)
    process.communicate()
    assert process.returncode == 4


def test_memory_that_pyarrow_frees_goes_back_to_the_system_at_once() -> None:
    body = """import pyarrow as pa
        resident = lambda: int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
        text = b"x" * (3 << 20)
        pa.array([text])
        before = resident()
        arrays = [pa.array([text]) for _ in range(40)]
        del arrays
        print(resident() - before)"""
    output, _ = run_with_cli(body).communicate()
    assert int(output) < 30  # of 120 MB


def test_the_delay_of_the_allocator_that_a_user_has_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMALLOC_PURGE_DELAY", "100")
    assert run_with_cli("print(os.environ['MIMALLOC_PURGE_DELAY'])").communicate()[0] == "100\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "100"}, "None")],
)
def test_threads_of_openmp_do_not_wait_in_a_busy_loop_unless_the_user_says_how(
    given: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in OPENMP_WAITING:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert run_with_cli("print(os.environ.get('OMP_WAIT_POLICY'))").communicate()[0] == f"{expected}\n"


PANDAS = """
import sys
from specter_batch.start import keep_pandas_out, run_alone
if {alone}:
    run_alone()
keep_pandas_out()
import pyarrow as pa
table = pa.table({{"a": pa.array([1, 2])}})
print("pandas" in sys.modules, list(table.to_pandas()["a"]), table["a"].to_pylist())
"""


@pytest.mark.parametrize("alone", [True, False])
def test_pyarrow_does_without_pandas_in_a_process_of_the_command_alone(alone: bool) -> None:
    command = [sys.executable, "-c", PANDAS.format(alone=alone)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.strip() == f"{not alone} [1, 2] [1, 2]"
