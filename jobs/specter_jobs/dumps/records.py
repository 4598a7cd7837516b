"""The interface between dump readers and the ingest: options of a reader, and the records that it yields.

The options of text tables are the layout of the text and the names of the columns. None means that the reader finds
them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, Self, runtime_checkable

from specter_batch.errors import UsageError
from specter_batch.papers.columns import DETECTED_NAMES, PaperColumns
from specter_jobs.dumps.decoding import checked_encoding

if TYPE_CHECKING:
    from specter_jobs.dumps.inputs import InputCount

NONE = "none"
YEAR_NAMES = ("year", "publication_year")
# The end of a message about bytes that are not UTF-8.
OTHER_ENCODING = "if the file has another encoding, name it, for example --encoding cp1252"
_NAMED = {
    "tab": "\t",
    r"\t": "\t",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "space": " ",
    "backslash": "\\",
    "double": '"',
    "single": "'",
}


@dataclass(frozen=True, kw_only=True)
class PaperRecord:
    """One paper of a dump.

    Attributes:
        paper_id: Identifier in the dump, as text; a record without an identifier becomes a reject.
        title: Title, or None. A record without title and abstract becomes a reject.
        abstract: Abstract, or None if the dump has no abstract; such a paper is kept.
        label: Label from the field in `ReadOptions.label`, or None if the record has no or several labels.
        label_unusable: True if the record's label is neither text nor a whole number; the paper is kept without it.
        year: Year of publication, or None if the dump does not have it.
        position: Position of the record in its file: line number (from 1), record number (from 1) or byte offset.
        deleted: True for a tombstone, by which the dump withdraws this id (PubMed's DeleteCitation).
        version: Version number (PubMed), or the date of the record as a number (arXiv, Crossref, OpenAlex). The newest
            version of an id is kept. 0 if the format has no versions.
        withdrawn: Words with which the authors or the publisher withdrew the paper (arXiv), or None; a withdrawn paper
            becomes a reject.
    """

    paper_id: str | None
    title: str | None
    abstract: str | None
    label: str | None = None
    label_unusable: bool = False
    year: int | None = None
    position: int
    deleted: bool = False
    version: int = 0
    withdrawn: str | None = None


@dataclass(frozen=True, kw_only=True)
class MalformedRecord:
    """A record that cannot be parsed; it becomes a reject.

    Attributes:
        position: Position of the record in its file, as in `PaperRecord`.
        detail: Description of the problem, in one line.
        paper_id: Identifier of the record, or None if it could not be read.
        reason: Reason in the list of rejects.
    """

    position: int
    detail: str
    paper_id: str | None = None
    reason: Literal["malformed_record", "id_rounded"] = "malformed_record"


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """The user's options for a reader.

    Attributes:
        label: Field that becomes the label, one of the format's `label_choices`; None for no label.
        years: First and last year to keep, where either may be None for no limit; None for every year. The ingest
            filters by year. A reader may use the years to skip work, but it must still yield every record.
    """

    label: str | None = None
    years: tuple[int | None, int | None] | None = None


class DumpReader(Protocol):
    """One public dump format.

    Attributes:
        name: Name of the format on the command line.
        suffixes: File name endings before any compression ending, such as `(".jsonl", ".json")`.
        label_choices: Names of the fields that may become the label, as values of `--label`.
    """

    name: str
    suffixes: tuple[str, ...]
    label_choices: tuple[str, ...]

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read one decompressed file from its beginning, in file order and in bounded memory.

        Raises:
            WrongFormatError: The file as a whole is not of this format.
            PaperSchemaError: The file is cut off. After any error this file counts as failed, and the others are read.
        """
        ...


@runtime_checkable
class JoiningReader(Protocol):
    """The reader of a format whose papers are joined from several files."""

    def joined_records(
        self,
        root: Path,
        paths: Sequence[Path],
        out: Path,
        options: ReadOptions,
        count: InputCount,
        advance: Callable[[int], None],
    ) -> AbstractContextManager[Iterator[PaperRecord | MalformedRecord]]:
        """Yield the papers of all files; `count` is complete when the block ends without an error.

        Args:
            root: Folder that file names are relative to.
            paths: Paths of the files.
            out: Output folder; temporary files are written there.
            options: Options of the reader.
            count: Size of the input, filled in while the files are read.
            advance: Callback that receives the number of bytes read from disk since its last call.

        Raises:
            PaperSchemaError: The files are not the datasets that the format joins.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """The layout of a CSV file, or the encoding of a JSON Lines file. None means that the reader finds it out.

    Attributes:
        delimiter: Character between two values.
        quote: Character around values with delimiters, quotes or line breaks; empty if quotes are plain text.
        escape: Character that makes the quote, delimiter or line break after it plain text; empty if the file has no
            escape character.
        encoding: Name of the text encoding.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None

    @classmethod
    def of(cls, *, delimiter: str | None, quote: str | None, escape: str | None, encoding: str | None) -> Self:
        """Make a layout from the values of `--delimiter`, `--quote`, `--escape` and `--encoding`.

        Raises:
            UsageError: A value is not a single character, or two values are the same.
        """
        marks = {
            "--delimiter": _mark("--delimiter", delimiter, ", or tab", may_be_none=False),
            "--quote": _mark("--quote", quote, "such as '\"', or none", may_be_none=True),
            "--escape": _mark("--escape", escape, "such as '\\', or none", may_be_none=True),
        }
        if marks["--escape"] and marks["--escape"] == (marks["--quote"] or '"'):
            marks["--escape"] = ""  # other tools use `--escape '"'` to say that quotes within values are doubled
        given = {option: mark for option, mark in marks.items() if mark}
        for option, mark in given.items():
            if list(given.values()).count(mark) > 1:
                raise UsageError(f"{option} {mark!r}: delimiter, quote and escape must be different characters")
        return cls(
            delimiter=marks["--delimiter"],
            quote=marks["--quote"],
            escape=marks["--escape"],
            encoding=None if encoding is None else checked_encoding(encoding),
        )


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """The names of the columns in the input; None to find a column by `DETECTED_NAMES` and `YEAR_NAMES`."""

    papers: PaperColumns = field(default_factory=PaperColumns)
    year: str | None = None

    def candidates(self) -> dict[str, tuple[str, ...]]:
        """Return the names to look for, in order of preference, for each canonical column."""
        names = {name: self.papers.candidates(name) for name in DETECTED_NAMES}
        return names | {"year": (self.year,) if self.year else YEAR_NAMES}


def _mark(option: str, value: str | None, examples: str, *, may_be_none: bool) -> str | None:
    if value is None or (may_be_none and value == NONE):
        return None if value is None else ""
    mark = _NAMED.get(value, value)
    if len(mark) != 1 or mark in "\r\n\ufeff" or "\ud800" <= mark <= "\udfff":
        raise UsageError(f"{option} {value!r}: expected one character, {examples.removeprefix(', ')}")
    return mark
