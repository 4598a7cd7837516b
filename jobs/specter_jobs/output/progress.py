"""How far a night has come: a log line a shard, and `progress.json` for who asks from outside."""

import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from specter_batch.storage.files import write_text
from specter_batch.storage.location import Location
from specter_batch.storage.url_path import UrlPath
from specter_jobs.logs import log
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.plan.plan_file import INVENTORY_FILE
from specter_jobs.report.gates import failed_gates, inapplicable_gates

PROGRESS_FILE = "progress.json"
# Small shards come faster than anyone asks, and each writing waits for the disk.
SECONDS_BETWEEN_WRITES = 0.5
# In a store each is a request that is paid for, and waited for.
SECONDS_BETWEEN_PUTS = 15.0
# `progress.json` is written every few seconds; `plan.json` and the report list all.
MAX_IGNORED = 100
State = Literal["surveying", "labelling", "finished"]


class Progress(BaseModel):
    """`progress.json`.

    Attributes:
        shards_done: Those that were kept from an earlier run included, as in `rows_done`.
        labelling_since: Seconds since the epoch; None while the input is surveyed.
        papers: Labelled in this run.
        shard_seconds: That the shards of this run took.
        model_seconds: Of these, those in which the model was at work.
        failed: Shard or file name -> error.
        ignored: What was found in the input and is not read, and why; the first `MAX_IGNORED` of them.
        ignored_entries: How many there are.
        exit_code: Of a finished night.
        refused: Why a finished night did not label anything; None if it did.
    """

    model_config = ConfigDict(extra="forbid")

    state: State = "surveying"
    process: str
    started: float
    updated: float
    rows: int
    rows_done: int = 0
    rows_kept: int = 0
    shards: int
    shards_done: int = 0
    labelling_since: float | None = None
    papers: int = 0
    shard_seconds: float = 0.0
    model_seconds: float = 0.0
    failed: dict[str, str] = {}
    ignored: dict[str, str] = {}
    ignored_entries: int = 0
    exit_code: int | None = None
    refused: str | None = None


class NightWatch:
    """Follows one night from its first line to its last.

    Args:
        out: The output folder.
        rows: Of the input.
        shards: Of the plan.
        unreadable: What may hold papers and cannot be read, and why.
        ignored: What else was found in the input, and why it is not read.
    """

    def __init__(
        self, out: Location, *, rows: int, shards: int, unreadable: dict[str, str], ignored: Mapping[str, str]
    ) -> None:
        self._file = out / PROGRESS_FILE
        self._pause = SECONDS_BETWEEN_PUTS if isinstance(out, UrlPath) else SECONDS_BETWEEN_WRITES
        now = time.time()
        process = f"process {os.getpid()} on {socket.gethostname()}"
        self._progress = Progress(process=process, started=now, updated=now, rows=rows, shards=shards)
        log("night started", rows=rows, shards=shards, out=str(out))
        self._progress.ignored = dict(islice(ignored.items(), MAX_IGNORED))
        self._progress.ignored_entries = len(ignored)
        for name, reason in self._progress.ignored.items():
            log("input ignored", entry=name, reason=reason)
        if len(ignored) > MAX_IGNORED:
            log("more input ignored", entries=len(ignored) - MAX_IGNORED, listed_in=INVENTORY_FILE)
        for name, error in unreadable.items():
            self._note_failure(name, error)
        self._write()

    def labelling(self, kept: Iterable[LedgerEntry], failed: dict[str, str]) -> None:
        """The input is surveyed: these shards were found done, and these cannot be read."""
        progress = self._progress
        progress.state, progress.labelling_since = "labelling", time.time()
        for entry in kept:
            progress.shards_done += 1
            progress.rows_done += entry.rows
        progress.rows_kept = progress.rows_done
        log("survey finished", shards=progress.shards, shards_kept=progress.shards_done, shards_failed=len(failed))
        for name, error in failed.items():
            self._note_failure(name, error)
        self._write()

    def finished(self, entry: LedgerEntry) -> None:
        """A shard is in the ledger."""
        progress = self._progress
        progress.shards_done += 1
        progress.rows_done += entry.rows
        progress.papers += entry.labels.rows - entry.reused
        progress.shard_seconds += entry.seconds
        progress.model_seconds += entry.model_seconds
        log(
            "shard finished",
            shard=entry.shard,
            file=entry.file,
            labelled=entry.labels.rows - entry.reused,
            reused=entry.reused,
            rejected=entry.rejected,
            seconds=entry.seconds,
            model_seconds=entry.model_seconds,
            shards_done=progress.shards_done,
            shards=progress.shards,
        )
        if time.time() - progress.updated >= self._pause:
            self._write()

    def refused(self, reason: str, *, exit_code: int) -> None:
        """The night ends before anything is labelled."""
        progress = self._progress
        progress.state, progress.exit_code, progress.refused = "finished", exit_code, reason
        self._write()

    def failed(self, name: str, error: str) -> None:
        """A shard could not be labelled."""
        self._note_failure(name, error)
        self._write()

    def ended(self, report: dict[str, Any], *, exit_code: int) -> None:
        """All is written."""
        progress = self._progress
        progress.state, progress.exit_code, progress.failed = "finished", exit_code, dict(report["failed_shards"])
        gates = [gate["name"] for gate in failed_gates(report)]
        not_applicable = [gate["name"] for gate in inapplicable_gates(report)]
        level = logging.ERROR if exit_code else logging.INFO
        seconds = round(time.time() - progress.started, 3)
        rows, failures = report["rows"], report["shards"]["failed"]
        log(
            "night finished",
            level=level,
            exit_code=exit_code,
            seconds=seconds,
            rows=rows,
            macro_f1=report["macro_f1"],
            shards_failed=failures,
            gates_failed=gates,
            gates_not_applicable=not_applicable,
        )
        self._write()

    def _note_failure(self, name: str, error: str) -> None:
        self._progress.failed[name] = error
        log("shard failed", level=logging.WARNING, shard=name, error=" ".join(error.split()))

    def _write(self) -> None:
        self._progress.updated = time.time()
        try:
            write_text(self._file, self._progress.model_dump_json(indent=2) + "\n")
        except OSError as error:  # a night is not lost because nobody can be told how far it is
            log("progress not written", level=logging.WARNING, error=str(error))


def timestamp(seconds: float) -> str:
    """Write seconds since the epoch as a UTC time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
