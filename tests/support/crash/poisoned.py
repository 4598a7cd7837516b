"""A worker process in which a certain paper is fatal, as a text that crashes a native library would be."""

import os
import signal
from typing import Any

import pytest

from specter_batch.papers.parquet import PaperBatch
from specter_jobs.label.engines.messages import WorkerJob
from specter_jobs.label.engines.processes import ShardProcess
from specter_jobs.label.prepare import ShardPreparer
from specter_jobs.plan.shards import Shard
from specter_jobs.screen.shard_reader import ShardReader
from specter_jobs.workers.processes import Advance

POISON = "A fatal text"


class PoisonedReader(ShardProcess):
    """A worker that is killed when it reads a shard with a title that starts with `POISON`, before any labelling."""

    def __init__(self, job: WorkerJob, number: int, advance: Advance) -> None:
        read = ShardReader.read

        def fatal(self: ShardReader, shard: Shard) -> PaperBatch:
            papers = read(self, shard)
            if any((title or "").startswith(POISON) for title in papers.table["title"].to_pylist()):
                os.kill(os.getpid(), signal.SIGKILL)
            return papers

        pytest.MonkeyPatch().setattr(ShardReader, "read", fatal)
        super().__init__(job, number, advance)


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
