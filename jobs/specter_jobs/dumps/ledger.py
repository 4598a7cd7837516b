"""The ingest's ledger (one line for each finished input file), and the account that sums it up.

A line holds the hashes of the file's content and of the options. The account says what became of every record.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from specter_batch.display import storable
from specter_batch.errors import ShardError
from specter_batch.storage.location import sizes_in
from specter_jobs.dumps.account_model import (
    FileAccount,
    FileCounts,
    IngestAccount,
    IngestRun,
    RecordCounts,
    RequestDescription,
    WrittenFile,
)
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.names import INDEX, INGEST_LEDGER_FILE, NO_PAPERS_FILE, PAPERS, REJECTS, OutputFile, is_parquet

_OUTPUT_NAME = re.compile(r"(.+)-\d{5}\.parquet", re.DOTALL)
_PARTIAL_NAME = re.compile(r"\..+\.parquet\.partial", re.DOTALL)
# Number of file names in a warning. The account lists all files.
SHOWN_NAMES = 3


class IngestEntry(BaseModel):
    """A finished input file: the number of its records and the output files that were made from them.

    Attributes:
        unit: The file's path relative to the input's root. For a join, the format's name.
        content: Hash of the bytes on disk; empty while its outputs are being rewritten.
        binding: Hash of the options.
        disk_bytes: Size of the file on disk, in bytes.
        text_bytes: Size of the decompressed file, in bytes.
        records: Number of records that were read.
        filtered: Number of records that `--year` left out.
        filtered_without_year: Number of filtered records whose year is not known.
        tombstones: Number of records that only withdraw other records.
        rejects_by_reason: Number of listed rejects for each reason.
        papers: Output files with papers.
        rejects: Output files with rejects.
        index: Output files with the version of each record, if the format has versions.
        unusable_labels: Number of papers that were kept without their label, because the label is neither text nor a
            whole number.
        seconds: Time of reading and writing, in seconds.
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
        """Number of papers written."""
        return sum(file.rows for file in self.papers)

    @property
    def reject_rows(self) -> int:
        """Number of records listed as rejects."""
        return sum(file.rows for file in self.rejects)

    @property
    def accounted(self) -> int:
        """Number of records that became papers, rejects, tombstones or were filtered; must equal `records`."""
        return self.paper_rows + self.reject_rows + self.filtered + self.tombstones

    @property
    def outputs(self) -> list[OutputFile]:
        """All output files."""
        return [*self.papers, *self.rejects, *self.index]


def account_of(
    request: RequestDescription,
    entries: Sequence[IngestEntry],
    failed: Mapping[str, str],
    *,
    ignored: Mapping[str, str],
    fresh: set[str],
    seconds: float,
    warnings: Sequence[str],
) -> IngestAccount:
    """Sum up the finished files.

    Args:
        request: The options of the ingest.
        entries: Ledger entries of the finished files, in the order of the input.
        failed: Error messages of the other files, by file name.
        ignored: Other files in the input, each with the reason why it is not read.
        fresh: Names of the files that this run read; earlier runs read the others.
        seconds: Time of this run, in seconds.
        warnings: Warnings for the user.

    Raises:
        ShardError: A record is not accounted for.
    """
    reasons: Counter[str] = Counter()
    for entry in entries:
        reasons.update(entry.rejects_by_reason)
    records = RecordCounts(
        read=sum(entry.records for entry in entries),
        papers=sum(entry.paper_rows for entry in entries),
        rejected=sum(entry.reject_rows for entry in entries),
        filtered=sum(entry.filtered for entry in entries),
        filtered_without_year=sum(entry.filtered_without_year for entry in entries),
        tombstones=sum(entry.tombstones for entry in entries),
    )
    if records.read != records.papers + records.rejected + records.filtered + records.tombstones:
        raise ShardError(f"not every record is accounted for: {records.model_dump()}; please report this")
    anew = [entry for entry in entries if entry.unit in fresh]
    # The files of a join are decompressed by its reader, so their decompressed size is not known here.
    disk_bytes, text_bytes = sum(entry.disk_bytes for entry in anew), sum(entry.text_bytes for entry in anew)
    return IngestAccount(
        **dict(request),
        records=records,
        rejects_by_reason=dict(sorted(reasons.items())),
        unusable_labels=sum(entry.unusable_labels for entry in entries),
        files=FileCounts(found=len(entries) + len(failed), finished=len(entries), failed=len(failed)),
        failed_files=failed,
        ignored_files=ignored,
        this_run=IngestRun(
            files=len(anew),
            records=sum(entry.records for entry in anew),
            bytes=disk_bytes,
            text_bytes=text_bytes,
            seconds=round(seconds, 3),
            mb_per_second=_rate(text_bytes, seconds),
            compressed_mb_per_second=_rate(disk_bytes, seconds),
        ),
        inputs=tuple(_file(entry, fresh=entry.unit in fresh) for entry in entries),
        warnings=tuple(warnings),
    )


def _file(entry: IngestEntry, *, fresh: bool) -> FileAccount:
    return FileAccount(
        file=entry.unit,
        read_in_this_run=fresh,
        records=entry.records,
        papers=entry.paper_rows,
        rejected=entry.reject_rows,
        rejects_by_reason=entry.rejects_by_reason,
        filtered=entry.filtered,
        filtered_without_year=entry.filtered_without_year,
        tombstones=entry.tombstones,
        bytes=entry.disk_bytes,
        text_bytes=entry.text_bytes,
        seconds=entry.seconds,
        mb_per_second=_rate(entry.text_bytes, entry.seconds),
        content=entry.content,
        outputs=tuple(WrittenFile(file=file.name, rows=file.rows, sha256=file.sha256) for file in entry.outputs),
    )


def _rate(size: int, seconds: float) -> float | None:
    return round(size / 1e6 / seconds, 2) if size and seconds else None


def warnings_of(unnumbered: Sequence[str], entries: Sequence[IngestEntry]) -> list[str]:
    """Return warnings about files that the user should check.

    Args:
        unnumbered: Names of the files without a number, from `in_order`.
        entries: Ledger entries of the finished files.
    """
    warnings = []
    if unnumbered and len(entries) > 1:
        warnings.append(
            f"no number in the name of {_names(unnumbered)}: papers and deletions there count as newer than those of "
            "numbered files; give such a file a name like pubmed26n1400.xml.gz to place it elsewhere"
        )
    if empty := [entry.unit for entry in entries if not entry.records]:
        warnings.append(f"no record in {_names(empty)}: fetch a file again if it should hold papers")
    return warnings


def _names(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


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
