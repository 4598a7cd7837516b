"""Decide for every record of a file: paper, reject with a reason, filtered out, or tombstone."""

from collections import Counter
from typing import Literal

from specter_batch.errors import WrongFormatError
from specter_batch.papers.columns import is_missing, normalise_label
from specter_jobs.dumps.record_writer import RecordWriter
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions

Reason = Literal[
    "malformed_record", "id_rounded", "null_id", "missing_title", "withdrawn", "deleted", "superseded",
]  # fmt: skip

Record = PaperRecord | MalformedRecord

# If this many first records are all unreadable, the file is of another format, and it fails as a whole.
SAMPLE_RECORDS = 100
DETAIL_CHARACTERS = 400


class RecordSorter:
    """Counts and writes the records of one file.

    A paper without abstract is kept with a null abstract; `classify` decides later whether to label it by its title.

    Attributes:
        records: Number of records so far.
        readable: True if at least one record had an id, which shows that the file is of the format.
        reasons: Number of rejects by reason. The other counts cover the other outcomes.
        unusable_labels: Number of papers that were kept without their label, because it is neither text nor a whole
            number.

    Args:
        file: Name of the input file, written to its rejects.
        source: Name of the format, written to its papers.
        options: Options of the reader.
        papers: Writer of the papers (`DUMP_SCHEMA`).
        rejects: Writer of the rejects (`DUMP_REJECT_SCHEMA`).
        index: Writer of the versions (`INDEX_SCHEMA`), for formats with versions.
    """

    def __init__(
        self,
        file: str,
        source: str,
        options: ReadOptions,
        *,
        papers: RecordWriter,
        rejects: RecordWriter,
        index: RecordWriter,
    ) -> None:
        self.records = 0
        self.readable = False
        self.filtered = 0
        self.filtered_without_year = 0
        self.tombstones = 0
        self.unusable_labels = 0
        self.reasons: Counter[Reason] = Counter()
        self._file, self._source = file, source
        self._first_year, self._last_year = options.years or (None, None)
        self._by_year = options.years is not None
        self._papers, self._rejects, self._index = papers, rejects, index
        self._unreadable: Record | None = None

    def sort(self, record: Record) -> None:
        """Count a record and write it to the papers, the rejects or the index.

        Raises:
            WrongFormatError: None of the first records could be read.
        """
        self.records += 1
        if not self.readable:
            self._try(record)
        if isinstance(record, MalformedRecord):
            self._reject(record, record.reason, record.detail)
            return
        paper_id, title, abstract = map(_present, (record.paper_id, record.title, record.abstract))
        place: tuple[int | None, int | None] = (None, None)
        if not paper_id:
            self._reject(record, "null_id", title or None)
            return
        if record.deleted:
            self.tombstones += 1
        elif record.withdrawn is not None:
            self._reject(record, "withdrawn", record.withdrawn)
        elif not title:
            self._reject(record, "missing_title", None)
        elif self._by_year and not self._wanted(record.year):
            self.filtered += 1
            self.filtered_without_year += record.year is None
        else:
            self.unusable_labels += record.label_unusable
            place = self._papers.place
            self._papers.add(
                (paper_id, title, abstract or None, normalise_label(record.label), self._source, record.year),
                characters=len(title) + len(abstract),
            )
        if record.deleted or record.version:
            self._index.add((paper_id, record.version, record.deleted, record.position, *place))

    def check_format(self) -> None:
        """Raise an error if the file, now read to its end, is of another format.

        Raises:
            WrongFormatError: The file has records, but none could be read.
        """
        if self._unreadable is not None and not self.readable:
            self._refuse()

    def _try(self, record: Record) -> None:
        if isinstance(record, PaperRecord) and record.paper_id:
            self.readable = True
            return
        self._unreadable = self._unreadable or record
        if self.records >= SAMPLE_RECORDS:
            self._refuse()

    def _refuse(self) -> None:
        first = self._unreadable
        problem = first.detail if isinstance(first, MalformedRecord) else "it has no id"
        raise WrongFormatError(
            f"none of the first {self.records} records is one of {self._source}; the first: {problem}; "
            "is the file of another format?"
        )

    def _wanted(self, year: int | None) -> bool:
        if year is None:
            return False
        return (self._first_year is None or year >= self._first_year) and (
            self._last_year is None or year <= self._last_year
        )

    def _reject(self, record: Record, reason: Reason, detail: str | None) -> None:
        self.reasons[reason] += 1
        short = detail[:DETAIL_CHARACTERS] if detail else None
        self._rejects.add((self._file, record.position, record.paper_id or None, reason, short))


def _present(text: str | None) -> str:
    """Return a text without surrounding blanks, or an empty text for None."""
    return "" if text is None or is_missing(text) else text.strip()
