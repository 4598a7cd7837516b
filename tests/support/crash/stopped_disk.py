"""A process that is stopped at a given step on disk, as a kill would, within the process of the test."""

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

# What changes names on disk. Files are whole or absent through these, so stopping at each of them shows every state.
STEPS = ("mkdir", "replace", "rename", "unlink", "rmdir", "fsync")


class StoppedError(BaseException):
    """The process is gone: from here on nothing on disk changes any more."""


class Disk:
    """Counts the steps that the main thread takes on disk, and stops it before a given one.

    Args:
        patched: Fixture with which `os` is patched; the test can undo its patches.
        last: Number of steps before the stop; -1 for no stop.
    """

    def __init__(self, patched: pytest.MonkeyPatch, *, last: int = -1) -> None:
        self.steps = 0
        self.last = last
        for name in STEPS:
            patched.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **more: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                if self.steps == self.last:
                    raise StoppedError  # what tidies up after an error is stopped as well
                self.steps += 1
            return real(*arguments, **more)

        return step
