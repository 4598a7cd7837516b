"""Runs specter-batch in forked children that kill themselves at a chosen change of the disk.

Everything heavy is imported once, before the first fork, and no thread is started here. A request is a line of JSON,
`{"argv": [...], "root": folder, "crash_at": number or null, "output": file}`. So is the answer: `{"status": exit code
or minus the signal, "points": number of changes of the disk below the root, "last": the last of them}`.
"""

import json
import mmap
import os
import signal
import struct
import sys
from contextlib import suppress
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


def watch(root: str, crash_at: int | None, shared: mmap.mmap) -> None:
    """Count the changes of the disk below a folder, and die before the one with the number `crash_at`."""
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            if not isinstance(args[2], int) or not args[2] & WRITING:
                return
        elif event not in CHANGES:
            return
        path = args[0]
        if isinstance(path, int) or not os.fsdecode(path).startswith(root):
            return
        count += 1
        told = f"{event} {os.fsdecode(path)[len(root) :]}".encode("utf-8", "backslashreplace")[:400]
        shared[: 8 + 400] = struct.pack("<II", count, len(told)) + told.ljust(400)
        if count == crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def run_child(request: dict[str, Any], shared: mmap.mmap) -> None:
    """Run one command and leave; never returns."""
    from specter_batch.cli import main

    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    watch(request["root"], request["crash_at"], shared)
    code: object = 0
    try:
        main(request["argv"])
    except SystemExit as leaving:
        code = leaving.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def main() -> None:
    """Answer requests until the input ends."""
    import duckdb  # noqa: F401
    import onnxruntime  # noqa: F401
    import tokenizers  # noqa: F401
    import torch

    from specter_batch.cli import build_app

    build_app()
    torch.set_num_threads(1)
    for line in sys.stdin:
        shared = mmap.mmap(-1, 1 << 12)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            run_child(json.loads(line), shared)
        _, status = os.waitpid(pid, 0)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # worker processes that outlive their parent
        points, length = struct.unpack("<II", shared[:8])
        answer = {
            "status": os.waitstatus_to_exitcode(status),
            "points": points,
            "last": shared[8 : 8 + length].decode(),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
