"""A worker process in which a certain paper is fatal, as a text that crashes a native library would be."""

import os
import signal
from multiprocessing.connection import Connection
from typing import Any

import pytest

from specter_jobs.label.engines import processes
from specter_jobs.label.engines.messages import WorkerJob
from specter_jobs.label.prepare import ShardPreparer

POISON = "A fatal text"
serve = processes._serve


def poisoned(number: int, job: WorkerJob, connection: Connection) -> None:
    """Serve as a worker that is killed by the first text that starts with `POISON`."""
    tokenize = ShardPreparer.tokenize

    def fatal(self: ShardPreparer, texts: list[str]) -> Any:
        if any(text.startswith(POISON) for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        return tokenize(self, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShardPreparer, "tokenize", fatal)
        serve(number, job, connection)
