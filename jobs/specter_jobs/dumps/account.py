"""The account of an ingest: what became of every record, for each file and in total."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from specter_batch.errors import ShardError
from specter_jobs.dumps.account_model import (
    FileAccount,
    FileCounts,
    IngestAccount,
    IngestRun,
    RecordCounts,
    RequestDescription,
    WrittenFile,
)
from specter_jobs.output.output_file import OutputFile


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
