"""The model of `ingest.json`, the account of an ingest."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from specter_batch.display import StorableText

Count = Annotated[int, Field(ge=0)]


class AccountPart(BaseModel):
    """A part of `ingest.json`: it cannot be changed, and fields that this version does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RequestDescription(AccountPart):
    """The options of an ingest.

    Attributes:
        format: Format of the dump.
        input: File, folder or glob that was read.
        label: Field that became the label; None if none did.
        years: First and last year to keep. Either is null if there is no such limit; None for all years.
        workers: Number of files that were read at the same time.
    """

    format: str
    input: str
    label: str | None
    years: tuple[int | None, int | None] | None
    workers: int


class RecordCounts(AccountPart):
    """Number of records for each outcome.

    Attributes:
        read: Number of records in the files that were read.
        papers: Number of records that became papers.
        rejected: Number of records that were rejected with a reason.
        filtered: Number of records that `--year` left out.
        filtered_without_year: Number of filtered records whose year is not known.
        tombstones: Number of records that withdraw others.
    """

    read: Count
    papers: Count
    rejected: Count
    filtered: Count
    filtered_without_year: Count
    tombstones: Count


class FileCounts(AccountPart):
    """Number of files of the dump in each state.

    Attributes:
        found: Number of files in the input.
        finished: Number of files that were read completely.
        failed: Number of files that could not be read.
    """

    found: Count
    finished: Count
    failed: Count


class IngestRun(AccountPart):
    """What this run read, without the files that earlier runs had finished.

    Attributes:
        files: Number of files.
        records: Number of records.
        bytes: Size of the files on disk, in bytes.
        text_bytes: Size of the decompressed files, in bytes.
        seconds: Time of the run, in seconds.
        mb_per_second: Decompressed megabytes per second; None if nothing was read.
        compressed_mb_per_second: Megabytes on disk per second; None if nothing was read.
    """

    files: Count
    records: Count
    bytes: Count
    text_bytes: Count
    seconds: float
    mb_per_second: float | None
    compressed_mb_per_second: float | None


class WrittenFile(AccountPart):
    """An output file.

    Attributes:
        file: Name below the output folder.
        rows: Number of rows.
        sha256: SHA-256 of its content.
    """

    file: str
    rows: Count
    sha256: str


class FileAccount(AccountPart):
    """What became of the records of one file of the dump.

    Attributes:
        file: Name below the input.
        read_in_this_run: True if this run read the file, false if an earlier run did.
        records: Number of records.
        papers: Number of records that became papers.
        rejected: Number of rejected records.
        rejects_by_reason: Number of rejected records by reason.
        filtered: Number of records that `--year` left out.
        filtered_without_year: Number of filtered records whose year is not known.
        tombstones: Number of records that withdraw others.
        bytes: Size of the file on disk, in bytes.
        text_bytes: Size of the decompressed file, in bytes.
        seconds: Time of reading and writing, in seconds.
        mb_per_second: Decompressed megabytes per second.
        content: Hash of the bytes on disk.
        outputs: Output files that hold its papers and rejects.
    """

    file: str
    read_in_this_run: bool
    records: Count
    papers: Count
    rejected: Count
    rejects_by_reason: Mapping[str, Count]
    filtered: Count
    filtered_without_year: Count
    tombstones: Count
    bytes: Count
    text_bytes: Count
    seconds: float
    mb_per_second: float | None
    content: str
    outputs: tuple[WrittenFile, ...]


class IngestAccount(RequestDescription):
    """The content of `ingest.json`.

    Attributes:
        records: Number of records for each outcome.
        rejects_by_reason: Number of rejected records by reason.
        unusable_labels: Number of papers that were kept without a label, because it is neither text nor whole number.
        files: Number of files of the dump in each state.
        failed_files: Files that could not be read, each with the error.
        ignored_files: Other files in the input, each with the reason why it is not read.
        this_run: Amount of data that this run read, and its speed.
        inputs: Outcome of the records of each file.
        warnings: Warnings for the user.
    """

    records: RecordCounts
    rejects_by_reason: Mapping[str, Count]
    unusable_labels: Count
    files: FileCounts
    failed_files: Mapping[StorableText, str]
    ignored_files: Mapping[StorableText, str]
    this_run: IngestRun
    inputs: tuple[FileAccount, ...]
    warnings: tuple[str, ...]


class NamedFile(AccountPart):
    """A file of the dump, without the outcome of its records.

    Attributes:
        file: Name below the input.
    """

    file: str


class ListedFiles(AccountPart):
    """The part of `ingest.json` that every version has written: the files of the dump.

    Attributes:
        inputs: Files that were read.
        failed_files: Files that could not be read, each with the error.
    """

    inputs: tuple[NamedFile, ...]
    failed_files: Mapping[str, str]
