"""Every record of a file to its place: a paper, a reject with its reason, filtered out, or a tombstone."""

from collections import Counter
from typing import Literal

from specter_batch.errors import WrongFormatError
from specter_batch.papers.labels import normalise_label
from specter_batch.papers.text import is_missing
from specter_jobs.dumps.record_writer import RecordWriter
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions

Reason = Literal[
    "malformed_record", "id_rounded", "null_id", "missing_title", "withdrawn", "deleted", "superseded",
]  # fmt: skip

Record = PaperRecord | MalformedRecord

# A file whose first records are all unreadable is of another format, not a heap of rejects.
SAMPLE_RECORDS = 100
DETAIL_CHARACTERS = 400


class RecordSorter:
    """Counts and writes the records of one file.

    A paper without abstract stays a paper, with a null: whether to label it by its title is the job's decision.

    Attributes:
        records: Seen.
        readable: One of them had an id, so that the file is of the format.
        reasons: Rejects by reason; the other counts are of what became of the rest.
        unusable_labels: Papers kept without their label, because it is neither text nor a whole number.

    Args:
        file: The input file's name, for its rejects.
        source: The format's name, for its papers.
        options: Of the reader.
        papers: Takes `DUMP_SCHEMA`.
        rejects: Takes `DUMP_REJECT_SCHEMA`.
        index: Takes `INDEX_SCHEMA`, of formats with versions.
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
        """Count a record and write it where it belongs.

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
        """Tell a file of another format, once its records are read.

        Raises:
            WrongFormatError: There were records, and none could be read.
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
    """Return a text without blanks around it, an empty one where it is missing."""
    return "" if text is None or is_missing(text) else text.strip()
