r"""Read the rows of a CSV file after its header, so that no row is lost inside another row without an error.

A quote that is never closed, or quotes in a file that does not use them to quote, make several lines look like one row.
Each row is therefore treated in one of these ways:

* A well-formed row on one line is accepted.
* A well-formed row that spans lines is accepted, unless its lines look like separate rows. Then the file fails.
* If a row is well-formed only when a backslash escapes its quotes (Spark writes this), the whole file is read with
  that escape.
* For any other row that is not well-formed, its first line is rejected. Reading continues at the next line if that
  line looks like a row. The file fails if it does not, or if other rows of the file span lines, because it is then
  unclear where a row begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.csv.lines import CsvLines, RowTooLongError
from specter_jobs.dumps.csv.values import LINE_END, NEVER_CLOSED, CsvRules, QuoteError

BACKSLASH = "\\"
PLAIN_QUOTES = "if quotes are plain text in this file, add --quote none"
ADVICE = (
    f"{PLAIN_QUOTES}; if a backslash stands before quotes within values, add --escape '\\'; otherwise correct the line"
)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row after the header.

    Attributes:
        values: The values, one for each column; None if the row is rejected.
        problem: Reason why the row is rejected.
        paper_id: Id of a rejected row, if it could be read.
    """

    values: list[str] | None
    problem: str = ""
    paper_id: str | None = None


class CsvRows:
    """Reads the rows after the header.

    Args:
        lines: Lines of the file after the header.
        rules: Delimiter, quote and escape characters of the file.
        names: Values of the header.
        id_column: Index of the column with the ids, from 0.
        guess_quotes: True if the user did not give the quote character, so lines within a value may be rows.
        guess_escape: True if the user did not say whether a backslash escapes quotes.
    """

    def __init__(
        self,
        lines: CsvLines,
        rules: CsvRules,
        names: list[str],
        *,
        id_column: int,
        guess_quotes: bool,
        guess_escape: bool,
    ) -> None:
        self._lines, self._rules, self._names = lines, rules, names
        self._id_column = id_column
        self._guess_quotes = guess_quotes
        self._guess_escape = guess_escape and bool(rules.quote)
        # Kinds of characters in the ids so far. A line within an abstract rarely begins like an id.
        self._id_kinds: set[str] = set()
        # Numbers of the first lines that showed how the file is written. `ambiguous` is the first line that was read as
        # if backslashes were plain text.
        self._spanning: int | None = None
        self._stray: int | None = None
        self._escaping: int | None = None
        self._ambiguous: int | None = None

    def __iter__(self) -> Iterator[CsvRow]:
        """Yield row after row; empty lines are not rows.

        Raises:
            PaperSchemaError: It is unclear where rows begin and end.
        """
        while True:
            values, problem = self._parsed(self._rules)
            taken = self._lines.taken
            if not taken:
                return
            if not problem and len(taken) == 1 and not taken[0].strip(LINE_END):
                continue
            if self._guess_escape and any(BACKSLASH in line and self._rules.quote in line for line in taken):
                values, problem = self._with_escapes(values, problem)
            ragged = not problem and len(values) != len(self._names)
            if ragged and len(self._lines.taken) > 1:
                problem = f"a quoted value spans lines, and its row has {self._count(values)}"
            if problem:
                yield self._broken(problem)
                continue
            if len(self._lines.taken) > 1:
                self._check_spanning()
            yield self._row(values)

    def _parsed(self, rules: CsvRules) -> tuple[list[str], str]:
        """Take the next row; return its values and an empty text, or an empty list and the problem."""
        self._lines.start_row()
        try:
            return rules.values(self._lines.take) or [], ""
        except QuoteError as error:
            return [], str(error)
        except RowTooLongError:
            if len(self._lines.taken) == 1:
                raise
            return [], f"{NEVER_CLOSED} within {self._lines.most_bytes >> 20} MB"

    def _row(self, values: list[str]) -> CsvRow:
        if len(values) != len(self._names):
            return CsvRow(None, self._count(values))
        if values == self._names:
            return CsvRow(None, "the row repeats the header, as in a file that was joined from several files")
        self._id_kinds |= _kinds(values[self._id_column])
        return CsvRow(values)

    def _count(self, values: list[str]) -> str:
        return f"{len(values)} values in a row of {len(self._names)} columns"

    def _with_escapes(self, values: list[str], problem: str) -> tuple[list[str], str]:
        """Read a row both with and without backslash escapes, and return the reading that fits the file.

        Args:
            values: Values of the row by the current rules.
            problem: What is wrong with the row by the current rules.

        Raises:
            PaperSchemaError: Rows contradict each other.
        """
        first, n_lines = self._lines.first, len(self._lines.taken)
        good = not problem and len(values) == len(self._names)
        escape = BACKSLASH if self._escaping is None else ""
        rules = replace(self._rules, escape=escape, escape_unquoted=False)
        self._lines.put_back()
        other, other_problem = self._parsed(rules)
        other_good = not other_problem and len(other) == len(self._names)
        if self._escaping is None and good and not (other_good and other == values):
            self._ambiguous = self._ambiguous or first
        if other_good and not good:
            if self._escaping is not None:
                raise _contradiction(self._escaping, first)
            if self._ambiguous is not None:
                raise _contradiction(first, self._ambiguous)
            self._rules, self._escaping = rules, first
            return other, ""
        if len(self._lines.taken) != n_lines:
            self._lines.put_back()
            return self._parsed(self._rules)
        return values, problem

    def _broken(self, problem: str) -> CsvRow:
        """Reject the first line of a row that is not well-formed, and continue at the next line.

        Raises:
            PaperSchemaError: The next line may be a part of this row.
        """
        lines = self._lines
        first = lines.first
        if self._spanning is not None:
            raise PaperSchemaError(
                f"line {first}: {problem}; the value on line {self._spanning} spans lines, so it is unclear where rows "
                f"begin; {ADVICE}"
            )
        lines.put_back(keep=1)
        following = lines.take()
        while following is not None and not following.strip(LINE_END):
            following = lines.take()
        lines.put_back(keep=1)
        if following is None and problem.startswith(NEVER_CLOSED):
            raise PaperSchemaError(f"line {first}: {problem}; the file may be cut off: fetch it again, or {ADVICE}")
        if following is not None and not self._looks_like_row(following):
            raise PaperSchemaError(
                f"line {first}: {problem}, and the next line does not look like a row, so it may belong to this row; "
                f"{ADVICE}"
            )
        self._stray = self._stray or first
        values = self._rules.split(lines.taken[0])
        paper_id = values[self._id_column] if len(values) == len(self._names) else None
        return CsvRow(None, f"line {first}: {problem}; {PLAIN_QUOTES}", paper_id)

    def _check_spanning(self) -> None:
        """Accept a well-formed row that spans lines.

        Raises:
            PaperSchemaError: The lines of the row may be separate rows.
        """
        first, taken = self._lines.first, self._lines.taken
        if self._stray is not None:
            raise PaperSchemaError(
                f"line {self._stray}: its quotes are not well-formed, and the value on line {first} spans lines, so "
                f"it is unclear where rows begin; {ADVICE}"
            )
        inner = [line for line in taken[1:] if line.strip(LINE_END)]
        rows = sum(self._looks_like_row(line) for line in inner)
        if self._guess_quotes and rows and 2 * rows >= len(inner) and self._looks_like_row(taken[0]):
            raise PaperSchemaError(
                f"line {first}: a quoted value spans {len(taken)} lines that look like separate rows; "
                f"{PLAIN_QUOTES}; if the value is right, add --quote '{self._rules.quote}'"
            )
        self._spanning = self._spanning or first

    def _looks_like_row(self, line: str) -> bool:
        """Return whether a line alone has all columns, and an id of the same kind as other rows."""
        ways = [self._rules.split(line)]
        if self._rules.quote and self._rules.quote in line:
            only_line = iter((line, None))
            with suppress(QuoteError):
                ways.append(self._rules.values(only_line.__next__) or [])
        return any(self._has_columns(values) for values in ways)

    def _has_columns(self, values: list[str]) -> bool:
        if len(values) != len(self._names):
            return False
        if not self._rules.padded and any(value.startswith(" ") for value in values[1:]):
            return False  # ordinary text has blanks after its commas
        paper_id = values[self._id_column].strip(self._rules.quote + " ")
        return bool(paper_id) and (not self._id_kinds or _kinds(paper_id) <= self._id_kinds)


def _contradiction(escaping: int, closing: int) -> PaperSchemaError:
    return PaperSchemaError(
        f"line {escaping} has a backslash that makes a quote plain text, and on line {closing} a backslash may be "
        "plain text itself; add --escape '\\' if backslashes escape quotes in this file, or --escape none"
    )


def _kinds(text: str) -> set[str]:
    """Return the kinds of characters in a text: digits, capitals, other letters, and each other character."""
    return {"0" if char.isdigit() else "A" if char.isupper() else "a" if char.isalpha() else char for char in text}
