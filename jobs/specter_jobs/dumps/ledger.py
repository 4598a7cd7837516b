"""The ingest's ledger: one line for each finished input file, with the hashes of its content and options."""

import re
from collections.abc import Collection, Iterable

from specter_batch.display import storable
from specter_batch.storage.location import sizes_in
from specter_jobs.dumps.account import IngestEntry
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.names import INDEX, INGEST_LEDGER_FILE, NO_PAPERS_FILE, PAPERS, REJECTS, is_parquet

_OUTPUT_NAME = re.compile(r"(.+)-\d{5}\.parquet", re.DOTALL)
_PARTIAL_NAME = re.compile(r"\..+\.parquet\.partial", re.DOTALL)


class IngestLedger:
    """The append-only record in an output folder.

    Args:
        out: The output folder.
        binding: Hash of the options; entries with other options are ignored.
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
        """Return the number of papers in the folder for each finished unit, whatever options it was read with."""
        return {
            unit: sum(file.rows for file in entry.papers if (self._out / file.name).exists())
            for unit, entry in self._newest.items()
        }

    def finished(self, unit: str) -> IngestEntry | None:
        """Return the unit's entry if its output files exist unchanged; the input is compared later, when it is read."""
        entry = self.entries.get(unit)
        if entry is None or not entry.content:
            return None
        return entry if all(self._out.is_intact(file) for file in entry.outputs) else None

    def commit(self, entry: IngestEntry) -> None:
        """Append the line of a unit whose output files are complete."""
        self._out.add_entry(INGEST_LEDGER_FILE, entry.unit, entry)
        self.entries[entry.unit] = entry

    def reopen(self, entry: IngestEntry) -> None:
        """Mark a unit as unfinished before its files are rewritten, so that it is read again after a kill."""
        self.commit(entry.model_copy(update={"content": ""}))

    def remove_strangers(self, entries: Iterable[IngestEntry], *, ours: Collection[str]) -> list[str]:
        """Remove output files that belong to none of these entries, left by other options, other inputs or a kill.

        Args:
            entries: Entries whose output files the folder should hold.
            ours: Names of the output files of every unit that any run began. All other files belong to a user and are
                kept.

        Returns:
            A list with one warning if a user put parquet files into the folder, otherwise an empty list.
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
        return [f"not written by this ingest, and kept: {shown}; move it away if it should not be labelled"]
