"""The model of `ingest.json`, the account of an ingest."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from specter_batch.storage.stored_names import StorableText

Count = Annotated[int, Field(ge=0)]


class AccountPart(BaseModel):
    """A part of `ingest.json`: it cannot be changed, and fields that this version does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RequestDescription(AccountPart):
    """What the user asked for.

    Attributes:
        format: Format of the dump.
        input: File, folder or glob that was read.
        label: Field that became the label; None if none did.
        years: First and last year that were wanted, null where open; None for all years.
        workers: Number of files that were read at once.
    """

    format: str
    input: str
    label: str | None
    years: tuple[int | None, int | None] | None
    workers: int


class RecordCounts(AccountPart):
    """Records by what became of them.

    Attributes:
        read: Number of records in the files that were read.
        papers: Number of records that became papers.
        rejected: Number of records that were rejected with a reason.
        filtered: Number of records that the user did not ask for.
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
    """Files of the dump by state.

    Attributes:
        found: Number of files in the input.
        finished: Number of files that were read completely.
        failed: Number of files that could not be read.
    """

    found: Count
    finished: Count
    failed: Count


class IngestRun(AccountPart):
    """What this run read, without what earlier runs had finished.

    Attributes:
        files: Number of files.
        records: Number of records.
        bytes: Size of the files on disk.
        text_bytes: Size of the files when decompressed.
        seconds: Time of the run.
        mb_per_second: Decompressed megabytes a second; None if nothing was read.
        compressed_mb_per_second: Megabytes of the files on disk a second; None if nothing was read.
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
        read_in_this_run: Whether this run read it; otherwise an earlier run did.
        records: Number of records.
        papers: Number of records that became papers.
        rejected: Number of rejected records.
        rejects_by_reason: Number of rejected records by reason.
        filtered: Number of records that the user did not ask for.
        filtered_without_year: Number of filtered records whose year is not known.
        tombstones: Number of records that withdraw others.
        bytes: Size on disk.
        text_bytes: Size when decompressed.
        seconds: Time of reading and writing.
        mb_per_second: Decompressed megabytes a second.
        content: Hash of the bytes on disk.
        outputs: Files that it was made into.
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
    """`ingest.json`.

    Attributes:
        records: Records by what became of them.
        rejects_by_reason: Number of rejected records by reason.
        unusable_labels: Number of papers that were kept without a label, because it is neither text nor whole number.
        files: Files of the dump by state.
        failed_files: Files that could not be read, each with the error.
        ignored_files: What else is in the input, each with the reason why it is not read.
        this_run: What this run read.
        inputs: What became of the records of each file.
        warnings: What the user should know.
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
    """A file of the dump, without what became of its records.

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
