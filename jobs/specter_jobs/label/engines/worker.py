"""A worker labels shards with one session. While the model runs, the next shards are screened and tokenized."""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

import pyarrow as pa

from specter_batch.errors import FingerprintError, ShardError
from specter_batch.logs import logger
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.tokens.encoding import Tokenized
from specter_jobs.label.audit import Auditor
from specter_jobs.label.engines.messages import ShardAnswer, ShardTask, WorkerJob, WorkerOutcome, WorkerTask
from specter_jobs.label.prepare import ShardPreparer
from specter_jobs.label.screened_shard import ScreenedShard
from specter_jobs.plan.shard_keys import ShardRun
from specter_jobs.screen.shard_reader import KeyThreads


class ShardWorker:
    """Labels shards with one bundle on one device, in the order in which they are submitted.

    Args:
        job: Bundle, device and settings of the worker.
        bundle: The bundle, opened in this process.
        logs: Log lines, which are sent to the driver with the answers if the worker is in another process.

    Attributes:
        model: The classifier and the fp32 graph for the audit, when they are loaded.

    Raises:
        FingerprintError: The bundle is not the one that the driver opened.
    """

    def __init__(self, job: WorkerJob, bundle: ModelBundle, logs: "CollectedLogs | None" = None) -> None:
        self._logs = logs
        try:
            self._preparer = ShardPreparer(bundle, job.rules, tokenizer=job.tokenizer)
        except FingerprintError as error:
            raise _replaced(job, str(error)) from error
        self._keys = KeyThreads(job.rules, bundle.text_template, threads=job.threads)
        self._surveyed = False
        self._screening = ThreadPoolExecutor(1, thread_name_prefix="screen")
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenize")
        self._labelling = ThreadPoolExecutor(1, thread_name_prefix="label")
        self._free_since = 0.0
        # The sessions take longest to load. The first shards are screened meanwhile, and are labelled after it.
        self.model = self._labelling.submit(self._load, job, bundle)

    def submit(self, task: WorkerTask) -> "Future[WorkerOutcome]":
        """Start a task. An error of any kind becomes the result of the future, and other tasks are not affected."""
        if isinstance(task, ShardRun):
            self._surveyed = True
            return cast("Future[WorkerOutcome]", self._keys.submit(task))
        if self._surveyed:
            self._surveyed = False
            pa.default_memory_pool().release_unused()  # it has held texts of the whole input
        given = time.monotonic()
        screened = self._screening.submit(
            self._preparer.screen, task.deduplicated, task.decisions, papers=task.papers, unanswered=task.unanswered
        )
        tokenized = self._tokenizing.submit(self._tokenize, screened)
        return self._labelling.submit(self._label, task, tokenized, given)

    def describe(self) -> dict[str, str]:
        """Return the device, provider and graph that are used, once the model is loaded.

        Raises:
            FingerprintError: The bundle is not the one that the driver opened.
            SpecterBatchError: The bundle cannot run here.
        """
        return self.model.result()[0].describe()

    def close(self) -> None:
        """Stop within about a second. Shards in progress are dropped."""
        if self.model.exception() is None:
            classifier, auditor = self.model.result()
            classifier.close()
            if auditor is not None:
                auditor.close()
        self._keys.close()
        for stage in (self._screening, self._tokenizing, self._labelling):
            stage.shutdown(wait=False, cancel_futures=True)

    def _load(self, job: WorkerJob, bundle: ModelBundle) -> tuple[OnnxClassifier, Auditor | None]:
        try:
            classifier = OnnxClassifier(
                bundle, device=job.device, precision=job.graph, threads=job.threads, compared=job.audit
            )
            audits = job.audit and classifier.entry.precision != "fp32"
            return classifier, Auditor(classifier) if audits else None
        except FingerprintError as error:
            raise _replaced(job, str(error)) from error
        finally:
            self._free_since = time.monotonic()

    def _tokenize(self, coming: Future[tuple[ScreenedShard, list[str]]]) -> tuple[ScreenedShard, Tokenized]:
        screened, texts = coming.result()
        return screened, self._preparer.tokenize(texts)

    def _label(
        self, task: ShardTask, coming: Future[tuple[ScreenedShard, Tokenized]], given: float
    ) -> ShardAnswer | ShardError:
        classifier, auditor = self.model.result()  # an error in loading it ends the run, see `describe`
        began = max(self._free_since, given)
        try:
            screened, tokenized = coming.result()
            token_ids = tokenized.token_ids
            model_began = time.monotonic()
            predictions = classifier.predict(token_ids, embeddings=task.embeddings)
            audit = None
            if auditor is not None and task.audit is not None:
                audit = auditor.answers(screened, token_ids, predictions, choice=task.audit)
        except ShardError as error:
            return error
        except BaseException as error:  # panics of Rust libraries are not subclasses of Exception
            return ShardError(f"{task.deduplicated.shard.name}: {type(error).__name__}: {error}")
        finally:
            self._free_since = time.monotonic()
        return ShardAnswer(
            screened=screened,
            predictions=predictions,
            seconds=self._free_since - began,
            model_seconds=self._free_since - model_began,
            max_batch_tokens=classifier.max_batch_tokens,
            audit=audit,
            token_differences=tokenized.differences,
            logs=self._logs.take() if self._logs is not None else (),
        )


def opened_bundle(job: WorkerJob) -> ModelBundle:
    """Open the bundle in the process of a worker. The folder may be on another machine, or may have been replaced.

    Raises:
        FingerprintError: The bundle is not the one that the driver opened.
        SpecterBatchError: The bundle cannot be opened.
    """
    try:
        bundle = ModelBundle.open(job.place)
    except FingerprintError as error:
        raise _replaced(job, str(error)) from error
    if not bundle.is_same_as(job.bundle):
        ours, theirs = job.bundle.fingerprint, bundle.fingerprint
        raise _replaced(job, f"its fingerprint was {ours[:12]}… and is {theirs[:12]}… in {bundle.path}")
    return bundle


def _replaced(job: WorkerJob, what: str) -> FingerprintError:
    return FingerprintError(
        f"{job.place}: is not the bundle that the run started with ({what}), so the run stops and keeps only "
        "labels of the first bundle: put that bundle back (on every machine) and run the same command again, or label "
        "with the other one into another output folder"
    )


class CollectedLogs(logging.Handler):
    """Keeps the log lines of a worker in another process until an answer brings them to the driver.

    Args:
        worker: Number of the worker. Each record gets it as a field.
    """

    def __init__(self, worker: int) -> None:
        super().__init__(logging.INFO)
        self._worker = worker
        self._kept: list[tuple[int, str, Mapping[str, object]]] = []
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a log record."""
        self._kept.append(
            (record.levelno, record.getMessage(), {"worker": self._worker, **getattr(record, "fields", {})})
        )

    def take(self) -> Sequence[tuple[int, str, Mapping[str, object]]]:
        """Return the records that were kept, and forget them."""
        kept, self._kept = self._kept, []
        return kept
