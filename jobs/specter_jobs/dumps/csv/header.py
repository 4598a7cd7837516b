"""The header of a CSV file: its columns, and with them the delimiter of the file."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.csv.lines import CsvLines
from specter_jobs.dumps.csv.values import LINE_END, CsvRules, QuoteError
from specter_jobs.dumps.files.table_layout import OTHER_ENCODING, TableLayout

DELIMITERS = ",\t;|"
# Excel reads, and some tools write, the delimiter on a line before the header.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)

# Returns our name -> the file's name of each column that is needed, or raises a PaperSchemaError.
Resolve = Callable[[list[str]], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class CsvHeader:
    """What a header says.

    Attributes:
        rules: How the file is written.
        values: The values of the header.
        names: The names of the columns: the values without blanks around them, and without bytes that are not UTF-8.
        columns: Our name -> the name of each column that is needed.
    """

    rules: CsvRules
    values: list[str]
    names: list[str]
    columns: Mapping[str, str]


def read_header(lines: CsvLines, layout: TableLayout, resolve: Resolve) -> CsvHeader | None:
    """Take the header, or return None if there is none.

    Args:
        lines: From the beginning of the file.
        layout: What the user said of the file.
        resolve: Finds the columns that are needed among names.

    Raises:
        PaperSchemaError: A column is missing.
    """
    delimiters = layout.delimiter
    while True:  # empty lines come before some headers
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
    """Take the header and return its values, none if it breaks the rules, and the rules by which they were read."""
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
