"""What a dump reader is given and what it yields: the contract between the formats and the driver."""

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
        paper_id: The publisher's identifier as text; a record without one becomes a reject.
        title: The title, or None. A record without title and abstract becomes a reject.
        abstract: The abstract, or None where the dump has none: such a paper is kept.
        label: The label the reader was asked for, or None where the dump names none or more than one.
        label_unusable: The record has a label that is neither text nor a whole number; the paper is kept without it.
        year: The year of publication, where the dump knows it.
        position: Where the record stands in its file: the line (from 1), the record (from 1) or the byte offset.
        deleted: A tombstone: the dump withdraws this id (PubMed's DeleteCitation).
        version: The newest version of an id wins within one ingest: a number (PubMed), or the date of the record as a
            number (arXiv, Crossref, OpenAlex). 0 where the format has no versions.
        withdrawn: The words by which its authors or the publisher withdrew it (arXiv); it becomes a reject.
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
        position: Where it stands in its file, as in `PaperRecord`.
        detail: What is wrong with it, in one line.
        paper_id: Its identifier, where that much could be read.
        reason: The reason that its reject gets.
    """

    position: int
    detail: str
    paper_id: str | None = None
    reason: Literal["malformed_record", "id_rounded"] = "malformed_record"


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the user asked of a reader.

    Attributes:
        label: Which of the format's `label_choices` becomes the label; None: no label.
        years: The first and last year wanted, each None where open; None: every year. The driver filters by it,
            a reader may use it to skip work only where it still yields the record.
    """

    label: str | None = None
    years: tuple[int | None, int | None] | None = None


class DumpReader(Protocol):
    """One public dump format.

    Attributes:
        name: The format's name on the command line.
        suffixes: The endings its files may have before any compression ending, such as `(".jsonl", ".json")`.
        label_choices: The fields that may become the label, by the names that `--label` takes.
    """

    name: str
    suffixes: tuple[str, ...]
    label_choices: tuple[str, ...]

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read one decompressed file from its beginning, in file order and in bounded memory.

        Raises:
            WrongFormatError: The file as a whole is not of this format.
            PaperSchemaError: It breaks off. Any error ends this file as failed and costs no other.
        """
        ...


@runtime_checkable
class JoiningReader(Protocol):
    """The reader of a format whose papers are put together from several files."""

    def joined_records(
        self,
        root: Path,
        paths: Sequence[Path],
        out: Path,
        options: ReadOptions,
        count: InputCount,
        advance: Callable[[int], None],
    ) -> AbstractContextManager[Iterator[PaperRecord | MalformedRecord]]:
        """Yield the papers of all files; when the block ends well, `count` is complete.

        Args:
            root: Folder that files are named relative to.
            paths: The files.
            out: Output folder, in which there is room for what has to be on disk meanwhile.
            options: What the user asked for.
            count: Is filled while the files are read.
            advance: Receives the number of bytes on disk as they are read.

        Raises:
            PaperSchemaError: The files are not those of a join.
        """
        ...
