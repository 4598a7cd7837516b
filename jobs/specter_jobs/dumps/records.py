"""The interface between dump readers and the ingest: options of a reader, and the records that it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from specter_jobs.dumps.files.inputs import InputCount


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
