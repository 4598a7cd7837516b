"""The ingest's ledger: which input files are done, for which content and options; one line a file, written last."""

import re
from collections.abc import Collection, Iterable

from specter_batch.storage.location import sizes_in
from specter_batch.storage.stored_names import storable
from specter_jobs.dumps.account import IngestEntry
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.names import INDEX, INGEST_LEDGER_FILE, NO_PAPERS_FILE, PAPERS, REJECTS, is_parquet

_OUTPUT_NAME = re.compile(r"(.+)-\d{5}\.parquet", re.DOTALL)
_PARTIAL_NAME = re.compile(r"\..+\.parquet\.partial", re.DOTALL)


class IngestLedger:
    """The append-only record in an output folder.

    Args:
        out: The output folder.
        binding: Hash of the options; entries of other options do not count.
    """

    def __init__(self, out: OutputFolder, *, binding: str) -> None:
        self._out = out
        self._newest = {entry.unit: entry for entry in out.entries(INGEST_LEDGER_FILE, IngestEntry)}
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
        return entry if all(self._out.is_intact(file) for file in entry.outputs) else None

    def commit(self, entry: IngestEntry) -> None:
        """Write a unit's line, after its files."""
        self._out.add_entry(INGEST_LEDGER_FILE, entry.unit, entry)
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
            for file in sorted(sizes_in(self._out / kind)):
                name = f"{kind}/{file}"
                if name in known:
                    continue
                part = _OUTPUT_NAME.fullmatch(file)
                if file == NO_PAPERS_FILE or _PARTIAL_NAME.fullmatch(file) or (part and part[1] in ours):
                    self._out.remove_files([name])
                elif is_parquet(file):
                    left.append(storable(name))
        if not left:
            return []
        shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        return [f"not written by this ingest, and left alone: {shown}; move it away if it is not to be labelled"]
