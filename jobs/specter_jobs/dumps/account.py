"""The account of an ingest: what became of every record, by file and in all."""

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
        request: What the user asked for.
        entries: Ledger entries of the finished files, in the order of the input.
        failed: Errors of the other files.
        ignored: What else is in the input, and why it is not read.
        fresh: The files that this run read; the others were done before.
        seconds: Time of this run.
        warnings: What the user should know.

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
    # A join's files are unpacked by what joins them: their size in memory is not known here.
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
