"""How a text table is written: delimiter, quotes, escapes and encoding, as the user names them or None to find out."""

from dataclasses import dataclass
from typing import Self

from specter_batch.errors import UsageError
from specter_jobs.dumps.files.encodings import checked_encoding

NONE = "none"
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
    """The layout of a CSV file, and the encoding of it or of JSON Lines. None: find out.

    Attributes:
        delimiter: Character between two values.
        quote: Character around values that hold delimiters, quotes or line breaks; empty: quotes are plain text.
        escape: Character before a quote, delimiter or line break that is plain text; empty: there is none.
        encoding: Name of the encoding.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None

    @classmethod
    def of(cls, *, delimiter: str | None, quote: str | None, escape: str | None, encoding: str | None) -> Self:
        """Make a layout of the values of `--delimiter`, `--quote`, `--escape` and `--encoding`.

        Raises:
            UsageError: A value is no character, or two of them are the same.
        """
        marks = {
            "--delimiter": _mark("--delimiter", delimiter, ", or tab", may_be_none=False),
            "--quote": _mark("--quote", quote, "such as '\"', or none", may_be_none=True),
            "--escape": _mark("--escape", escape, "such as '\\', or none", may_be_none=True),
        }
        if marks["--escape"] and marks["--escape"] == (marks["--quote"] or '"'):
            marks["--escape"] = ""  # what other tools call it when quotes within values are doubled
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


def _mark(option: str, value: str | None, examples: str, *, may_be_none: bool) -> str | None:
    if value is None or (may_be_none and value == NONE):
        return None if value is None else ""
    mark = _NAMED.get(value, value)
    if len(mark) != 1 or mark in "\r\n\ufeff" or "\ud800" <= mark <= "\udfff":
        raise UsageError(f"{option} {value!r}: expected one character, {examples.removeprefix(', ')}")
    return mark
