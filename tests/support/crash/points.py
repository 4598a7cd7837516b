"""Commands that are killed at a chosen change of the disk: each write, rename and unlink is a point to die at."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Points tried of each command. `SPECTER_BATCH_CRASH_POINTS=all` tries every one of them.
POINTS_VARIABLE, DEFAULT_POINTS = "SPECTER_BATCH_CRASH_POINTS", 3


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Exit code of the command, or minus the signal that killed it.
        points: Number of changes to the disk that the command made or was about to make.
        last: Last of these changes; a killed command died before it.
        output: Text that the command printed.
    """

    status: int
    points: int
    last: str
    output: str


class CrashServer:
    """Runs commands, each in a separate process; see `server.py`."""

    def __init__(self, process: "subprocess.Popen[str]", scratch: Path) -> None:
        self._process, self._scratch = process, scratch

    def run(self, argv: Sequence[str | Path], *, root: Path, crash_at: int | None = None) -> Ended:
        """Run a command; `crash_at` is the number, from 1, of the change below `root` that it dies before."""
        output = self._scratch / "output.txt"
        request = {"argv": list(map(str, argv)), "root": str(root), "crash_at": crash_at, "output": str(output)}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return Ended(**answer, output=output.read_text(errors="replace"))


@contextmanager
def crash_server(scratch: Path) -> Iterator[CrashServer]:
    """Start the server, and stop it at the end."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield CrashServer(process, scratch)
        assert process.stdin is not None
        process.stdin.close()


def chosen_points(n: int) -> list[int]:
    """Return the points to try of `n`: always the first and the last, and others drawn with a fixed seed."""
    wanted = os.environ.get(POINTS_VARIABLE, str(DEFAULT_POINTS))
    if wanted == "all" or n <= int(wanted):
        return list(range(1, n + 1))
    return sorted({1, n, *random.Random(0).sample(range(1, n + 1), int(wanted) - 2)})


def tree(folder: Path, *names: str) -> dict[str, bytes]:
    """Return the bytes of the files of a folder by name, or of those parts of it that are named."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for top in ([folder / name for name in names] or [folder])
        for path in ([top] if top.is_file() else sorted(top.rglob("*")))
        if path.is_file()
    }
