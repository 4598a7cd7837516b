"""A worker process in which a certain paper is fatal, as a text that crashes a native library would be."""

import os
import signal
from typing import Any

import pytest

from specter_jobs.label.engines.messages import WorkerJob
from specter_jobs.label.engines.processes import ShardProcess
from specter_jobs.label.prepare import ShardPreparer
from specter_jobs.workers.processes import Advance

POISON = "A fatal text"


class PoisonedProcess(ShardProcess):
    """A worker that is killed by the first text that starts with `POISON`."""

    def __init__(self, job: WorkerJob, number: int, advance: Advance) -> None:
        tokenize = ShardPreparer.tokenize

        def fatal(self: ShardPreparer, texts: list[str]) -> Any:
            if any(text.startswith(POISON) for text in texts):
                os.kill(os.getpid(), signal.SIGKILL)
            return tokenize(self, texts)

        pytest.MonkeyPatch().setattr(ShardPreparer, "tokenize", fatal)
        super().__init__(job, number, advance)
