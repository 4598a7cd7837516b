"""The ingest's ledger: which input files are done, for which content and options; one line a file, written last."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from specter_batch.model.bundle import file_sha256
from specter_batch.storage.stored_names import storable
from specter_jobs.dumps.record_writer import INDEX, NO_PAPERS_FILE, PAPERS, REJECTS
from specter_jobs.output.journal import append_entry, read_journal
from specter_jobs.output.ledger_entry import OutputFile

LEDGER_FILE = "ingest.jsonl"
_OUTPUT_NAME = re.compile(r"(.+)-\d{5}\.parquet", re.DOTALL)
_PARTIAL_NAME = re.compile(r"\..+\.parquet\.partial", re.DOTALL)


class IngestEntry(BaseModel):
    """A finished input file: what it held, and what it was made into.

    Attributes:
        unit: The file's path below the input's root; of a join the format's name.
        content: Hash of the bytes on disk; empty while its outputs are being rewritten.
        binding: Hash of the options.
        disk_bytes: On disk.
        text_bytes: Decompressed.
        records: Read.
        filtered: Left out by `--year`.
        filtered_without_year: Those of them whose year is not known.
        tombstones: Records that only withdraw others.
        rejects_by_reason: Of the listed rejects.
        papers: Output files.
        rejects: Output files.
        index: Files of versions, where the format has versions.
        unusable_labels: Papers kept without their label, because it is neither text nor a whole number.
        seconds: Of reading and writing it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str
    content: str
    binding: str
    disk_bytes: int
    text_bytes: int
    records: int
    filtered: int
    filtered_without_year: int
    tombstones: int
    rejects_by_reason: dict[str, int]
    papers: list[OutputFile]
    rejects: list[OutputFile]
    index: list[OutputFile]
    unusable_labels: int = 0
    seconds: float

    @property
    def paper_rows(self) -> int:
        """Papers written."""
        return sum(file.rows for file in self.papers)

    @property
    def reject_rows(self) -> int:
        """Records listed as rejects."""
        return sum(file.rows for file in self.rejects)

    @property
    def accounted(self) -> int:
        """Records whose fate is known; all of them, or something is wrong."""
        return self.paper_rows + self.reject_rows + self.filtered + self.tombstones

    @property
    def outputs(self) -> list[OutputFile]:
        """All output files."""
        return [*self.papers, *self.rejects, *self.index]


class IngestLedger:
    """The append-only record in an output folder.

    Args:
        out: The output folder.
        binding: Hash of the options; entries of other options do not count.
    """

    def __init__(self, out: Path, *, binding: str) -> None:
        self._out = out
        self._path = out / LEDGER_FILE
        self._newest = {entry.unit: entry for entry in read_journal(self._path, IngestEntry)}
        self.entries = {unit: entry for unit, entry in self._newest.items() if entry.binding == binding}
        self._binding = binding

    @property
    def has_other_options(self) -> bool:
        """Whether the newest entry of a unit was made with other options, or by another version."""
        return any(entry.binding != self._binding for entry in self._newest.values())

    def papers_held(self) -> dict[str, int]:
        """Return how many papers are there of each unit that was ever finished, with whatever options."""
        return {
            unit: sum(file.rows for file in entry.papers if (self._out / file.name).exists())
            for unit, entry in self._newest.items()
        }

    def finished(self, unit: str) -> IngestEntry | None:
        """Return the unit's entry if its outputs are there, unchanged; its input is compared when it is read."""
        entry = self.entries.get(unit)
        if entry is None or not entry.content:
            return None
        return entry if all(_is_whole(self._out, file) for file in entry.outputs) else None

    def commit(self, entry: IngestEntry) -> None:
        """Write a unit's line, after its files."""
        append_entry(self._path, entry)
        self.entries[entry.unit] = entry

    def reopen(self, entry: IngestEntry) -> None:
        """Take a unit's line back before its files are rewritten, so that a kill in between is seen."""
        self.commit(entry.model_copy(update={"content": ""}))

    def remove_strangers(self, entries: Iterable[IngestEntry], *, ours: Collection[str]) -> list[str]:
        """Remove output files that belong to none of these entries: left by other options, inputs or a kill.

        Args:
            entries: What the folder is to hold.
            ours: Names of the output files of every unit that was ever begun; other files are a user's, and stay.

        Returns:
            A warning about parquet that a user put there, if there is any.
        """
        known = {file.name for entry in entries for file in entry.outputs}
        left = []
        for kind in (PAPERS, REJECTS, INDEX):
            for path in sorted((self._out / kind).iterdir()):
                name = path.relative_to(self._out).as_posix()
                if name in known or not path.is_file():
                    continue
                part = _OUTPUT_NAME.fullmatch(path.name)
                if path.name == NO_PAPERS_FILE or _PARTIAL_NAME.fullmatch(path.name) or (part and part[1] in ours):
                    path.unlink()
                elif path.suffix == ".parquet":
                    left.append(storable(name))
        if not left:
            return []
        shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        return [f"not written by this ingest, and left alone: {shown}; move it away if it is not to be labelled"]


def _is_whole(out: Path, file: OutputFile) -> bool:
    """Say whether an output file is there with the content that the ledger remembers; the size alone proves nothing."""
    path = out / file.name
    try:
        return path.stat().st_size == file.size and file_sha256(path) == file.sha256
    except FileNotFoundError:
        return False
