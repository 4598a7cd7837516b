"""The ledger: which shards are done, for which content, bundle and settings; written last, one line a shard."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from specter_batch.scores import Scores
from specter_jobs.journal import append_entry, read_journal
from specter_jobs.pipeline import LabelledShard
from specter_jobs.slices import PaperSlice
from specter_jobs.survey import SurveyedShard
from specter_jobs.writer import LABELS, REJECTS, OutputFile, write_output

LEDGER_FILE = "ledger.jsonl"


class LedgerEntry(BaseModel):
    """A finished shard: what it was made of, what came out, and the sums for the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard: str
    file: str
    start: int
    rows: int
    content: str
    binding: str
    model: str
    labels: OutputFile
    reused: int
    rejects: OutputFile | None
    rejects_by_reason: dict[str, int]
    scores: dict[str, Any]
    unknown_labels: int
    label_papers: list[int]
    bin_papers: list[int]
    score_sum: float
    title_only: PaperSlice | None = None
    seconds: float
    model_seconds: float = 0.0

    @property
    def rejected(self) -> int:
        """Rows that were not labelled."""
        return sum(self.rejects_by_reason.values())

    @property
    def model_wait_share(self) -> float | None:
        """Share of the shard's time in which the model was not at work; None when it had nothing to do."""
        asked = self.labels.rows > self.reused
        return max(1 - self.model_seconds / self.seconds, 0.0) if asked and self.seconds else None

    def tallies(self) -> Scores:
        """Return the shard's scores."""
        return Scores.from_json(self.scores)


def binding_of(values: dict[str, Any]) -> str:
    """Hash all that can change an output but the rows themselves."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


class Ledger:
    """The append-only record in an output folder.

    Args:
        out: The output folder.
        binding: Hash of model and settings; entries of another binding do not count.
        model: Hash of bundle, device kind and graph: what a later night must share to take these labels.
    """

    def __init__(self, out: Path, *, binding: str, model: str) -> None:
        self._out = out
        self._model = model
        self._path = out / LEDGER_FILE
        self._binding = binding
        self._entries = {entry.shard: entry for entry in read_entries(self._path) if entry.binding == binding}

    def finished(self, surveyed: SurveyedShard) -> LedgerEntry | None:
        """Return the shard's entry if it was done for this content and its files are there, else None."""
        entry = self._entries.get(surveyed.shard.name)
        if entry is None or entry.content != surveyed.content:
            return None
        files = [entry.labels] + ([entry.rejects] if entry.rejects else [])
        whole = all(_size(self._out / file.name) == file.size for file in files)
        return entry if whole else None

    def commit(self, surveyed: SurveyedShard, labelled: LabelledShard, *, seconds: float) -> LedgerEntry:
        """Write a shard's files, and then its line."""
        shard = surveyed.shard
        rejects = labelled.rejects
        counted = rejects["reason"].value_counts().to_pylist()
        entry = LedgerEntry(
            shard=shard.name,
            file=shard.file.name,
            start=shard.start,
            rows=shard.rows,
            content=surveyed.content,
            binding=self._binding,
            model=self._model,
            reused=labelled.reused,
            labels=write_output(self._out, LABELS, shard.name, labelled.labels),
            rejects=write_output(self._out, REJECTS, shard.name, rejects) if rejects.num_rows else None,
            rejects_by_reason={row["values"]: row["counts"] for row in sorted(counted, key=lambda row: row["values"])},
            scores=labelled.scores.as_json(),
            unknown_labels=labelled.unknown_labels,
            label_papers=labelled.label_papers.tolist(),
            bin_papers=labelled.bin_papers.tolist(),
            score_sum=labelled.score_sum,
            title_only=labelled.title_only,
            seconds=round(seconds, 3),
            model_seconds=round(labelled.model_seconds, 3),
        )
        append_entry(self._path, entry)
        self._entries[entry.shard] = entry
        return entry

    def label_file(self, shard_name: str) -> Path | None:
        """Return the label file of a shard that is done under this binding, else None."""
        entry = self._entries.get(shard_name)
        return None if entry is None else self._out / entry.labels.name

    def remove_strangers(self, entries: Iterable[LedgerEntry]) -> None:
        """Remove output files that belong to none of these entries: left by another plan, bundle or a kill."""
        known = {file.name for entry in entries for file in (entry.labels, entry.rejects) if file}
        for kind in (LABELS, REJECTS):
            for path in (self._out / kind).iterdir():
                if path.relative_to(self._out).as_posix() not in known and path.suffix in (".parquet", ".partial"):
                    path.unlink()


def read_entries(path: Path) -> list[LedgerEntry]:
    """Return the readable lines of a ledger; a half-written one is as if it were not there."""
    return read_journal(path, LedgerEntry)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
