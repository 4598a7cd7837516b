"""Read the header of a CSV file: the names of its columns, and the delimiter that separates them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.csv.lines import CsvLines
from specter_jobs.dumps.csv.values import LINE_END, CsvRules, QuoteError
from specter_jobs.dumps.records import OTHER_ENCODING, TableLayout

DELIMITERS = ",\t;|"
# Excel reads, and some tools write, the delimiter on a line before the header.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)

# Maps our name of each needed column to its name in the file, or raises a PaperSchemaError.
Resolve = Callable[[list[str]], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class CsvHeader:
    """The header of a CSV file.

    Attributes:
        rules: Delimiter, quote and escape characters of the file.
        values: Values of the header, as written.
        names: Column names: the values without surrounding blanks and without bytes that are not UTF-8.
        columns: Name of each needed column in the file, by our name.
    """

    rules: CsvRules
    values: list[str]
    names: list[str]
    columns: Mapping[str, str]


def read_header(lines: CsvLines, layout: TableLayout, resolve: Resolve) -> CsvHeader | None:
    """Read the header; return None if the file has no lines.

    Args:
        lines: Lines from the beginning of the file.
        layout: Layout of the file, as given by the user.
        resolve: Function that finds the needed columns in a list of names.

    Raises:
        PaperSchemaError: A column is missing.
    """
    delimiters = layout.delimiter
    while True:  # some files have empty lines before the header
        lines.start_row()
        line = lines.take()
        if line is None:
            return None
        said = _SEPARATOR_LINE.fullmatch(line.strip(LINE_END))
        if said is not None:
            delimiters = delimiters or said[1]
        elif line.strip(LINE_END):
            lines.put_back()
            break
    quote = '"' if layout.quote is None else layout.quote
    problems = [(0, f"header: its quotes are not well-formed: {line[:80].strip()}; correct it, or add --quote none")]
    for delimiter in (mark for mark in delimiters or DELIMITERS if mark != quote):
        rules, values = _parsed(lines, CsvRules(delimiter=delimiter, quote=quote, escape=layout.escape or ""))
        names = _names(values)
        try:
            columns = resolve(names)
        except PaperSchemaError as error:
            problems.append((len(names), f"{error}{_hint(names, layout)}"))
            lines.put_back()
        else:
            return CsvHeader(rules=rules, values=values, names=names, columns=columns)
    raise PaperSchemaError(max(problems, key=lambda problem: problem[0])[1])


def _parsed(lines: CsvLines, rules: CsvRules) -> tuple[CsvRules, list[str]]:
    """Read the header; return the rules used and its values (an empty list if it breaks the rules)."""
    lines.start_row()
    try:
        values = rules.values(lines.take) or []
    except QuoteError:
        return rules, []
    if rules.padded or len(values) < 2 or not all(value.startswith(" ") for value in values[1:]):
        return rules, values
    lines.put_back()
    return _parsed(lines, replace(rules, padded=True))


def _names(values: list[str]) -> list[str]:
    return [value.encode(errors="surrogateescape").decode(errors="replace").strip() for value in values]


def _hint(names: list[str], layout: TableLayout) -> str:
    if any("\ufffd" in name for name in names):
        return f"; the header is not UTF-8: {OTHER_ENCODING}"
    if len(names) == 1 and layout.delimiter is None:
        return "; if another character than comma, tab, semicolon or | separates the columns, name it with --delimiter"
    return ""
