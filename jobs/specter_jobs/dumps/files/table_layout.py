"""The layout of a text table and the names of its columns; None means that the reader finds them out."""

from dataclasses import dataclass, field
from typing import Self

from specter_batch.errors import UsageError
from specter_batch.papers.columns import DETECTED_NAMES, PaperColumns
from specter_jobs.dumps.files.encodings import checked_encoding

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
