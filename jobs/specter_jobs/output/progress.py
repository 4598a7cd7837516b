"""Report the progress of a night: a log line for each shard, and `progress.json` for other programs."""

import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping
from itertools import islice

from specter_batch.logs import log
from specter_batch.storage.files import write_text
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import PLAN_FILE, PROGRESS_FILE
from specter_jobs.output.progress_file import Progress
from specter_jobs.output.report_model.report import NightReport

# `progress.json` is written every few seconds; `plan.json` and the report list all.
MAX_IGNORED = 100


class NightWatch:
    """Follows one night from its first line to its last.

    Args:
        out: The output folder.
        rows: Number of rows in the input.
        shards: Number of shards in the plan.
        unreadable: Entries that may hold papers and cannot be read -> reason.
        ignored: Other entries of the input -> reason why they are not read.
    """

    def __init__(
        self, out: OutputFolder, *, rows: int, shards: int, unreadable: dict[str, str], ignored: Mapping[str, str]
    ) -> None:
        self._file = out / PROGRESS_FILE
        self._pause = out.seconds_between_writes
        now = time.time()
        process = f"process {os.getpid()} on {socket.gethostname()}"
        self._progress = Progress(process=process, started=now, updated=now, rows=rows, shards=shards)
        log("night started", rows=rows, shards=shards, out=str(out))
        self._progress.ignored = dict(islice(ignored.items(), MAX_IGNORED))
        self._progress.ignored_entries = len(ignored)
        for name, reason in self._progress.ignored.items():
            log("input ignored", entry=name, reason=reason)
        if len(ignored) > MAX_IGNORED:
            log("more input ignored", entries=len(ignored) - MAX_IGNORED, listed_in=PLAN_FILE)
        for name, error in unreadable.items():
            self._note_failure(name, error)
        self._write()

    def labelling(self, kept: Iterable[LedgerEntry], failed: dict[str, str]) -> None:
        """Record that the input is deduplicated, which shards are done already, and which cannot be read."""
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
        """Record that a shard is in the ledger."""
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
        """Record that the night ends before anything is labelled."""
        progress = self._progress
        progress.state, progress.exit_code, progress.refused = "finished", exit_code, reason
        self._write()

    def failed(self, name: str, error: str) -> None:
        """Record that a shard could not be labelled."""
        self._note_failure(name, error)
        self._write()

    def ended(self, report: NightReport, *, exit_code: int) -> None:
        """Record that the night has ended and everything is written."""
        progress = self._progress
        progress.state, progress.exit_code, progress.failed = "finished", exit_code, dict(report.failed_shards)
        gates = [gate.name for gate in report.failed_gates]
        not_applicable = [gate.name for gate in report.inapplicable_gates]
        level = logging.ERROR if exit_code else logging.INFO
        seconds = round(time.time() - progress.started, 3)
        log(
            "night finished",
            level=level,
            exit_code=exit_code,
            seconds=seconds,
            rows=report.rows.model_dump(),
            macro_f1=report.macro_f1,
            shards_failed=report.shards.failed,
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
        except OSError as error:  # a night does not fail because its progress cannot be written
            log("progress not written", level=logging.WARNING, error=str(error))
