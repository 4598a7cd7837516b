"""Run commands and measure each process: wall-clock time, CPU time and peak memory."""

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specter_batch.cpus import usable_cpus

# The unit of `ru_maxrss`, in bytes.
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
# How many times per second the used memory of a card is read.
CARD_POLLS = 5


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended.

    Attributes:
        exit_code: Exit code, or the negative number of the signal that ended the command.
        output: Standard output and standard error.
        seconds: Wall-clock time from start to end.
        cpu_seconds: CPU time of all cores.
        peak_mb: Peak memory in megabytes.
        card_mb: Peak memory of the card, minus the memory in use before the start; None without a card.
    """

    exit_code: int
    output: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    card_mb: float | None

    @property
    def last_line(self) -> str:
        """The last line of output. For a failed command it is the reason."""
        return (self.output.strip().splitlines() or ["it printed nothing"])[-1]


def environment(device: str) -> dict[str, str]:
    """Return the environment of a measured process: our modules, all usable cores, the given device, no network."""
    here = Path(__file__).parents[2]
    paths = [str(here), str(here / "export"), str(here / "jobs"), os.environ.get("PYTHONPATH", "")]
    fixed = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": str(usable_cpus()),  # Torch would count the cores of the machine
        "HF_HUB_OFFLINE": "1",
    }
    return os.environ | fixed | ({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})


def run_measured(command: Sequence[str], *, device: str) -> Finished:
    """Run a command to its end.

    Peak memory is the kernel's `ru_maxrss`. It includes the memory of the calling process, from which the command is
    forked. The caller should therefore import little.
    """
    with tempfile.TemporaryFile("w+") as output, _CardMemory(device) as card:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment(device))
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # the process has been waited for already
        output.seek(0)
        text = output.read()
    return Finished(
        exit_code=process.returncode,
        output=text,
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss * MAXRSS_BYTES / 1e6,
        card_mb=card.most_mb,
    )


def own_peak_mb() -> float:
    """Return the peak memory of this process in megabytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES / 1e6
    # `ru_maxrss` would include the memory of the process that forked this one.
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024 / 1e6


def nvidia_smi(field: str) -> str | None:
    """Return a field of the first card from `nvidia-smi`; None without a card."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--id=0", f"--query-gpu={field}", "--format=csv,noheader,nounits"],  # noqa: S607 - as installed
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return asked.stdout.strip() or None


class _CardMemory:
    """Reads the used memory of the first card again and again."""

    def __init__(self, device: str) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch) if device == "cuda" else None
        self._before = self._used() if self._thread else None
        self.most_mb: float | None = None if self._before is None else 0.0

    def __enter__(self) -> "_CardMemory":
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(1 / CARD_POLLS):
            used = self._used()
            if used is not None and self._before is not None and self.most_mb is not None:
                self.most_mb = max(self.most_mb, used - self._before)

    @staticmethod
    def _used() -> float | None:
        told = nvidia_smi("memory.used")  # MiB
        return None if told is None else float(told) * 1.048576
