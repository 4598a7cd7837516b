"""Read papers from CSV files; columns are found by name or given by options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.csv.header import read_header
from specter_jobs.dumps.csv.lines import MAX_ROW_BYTES, CsvLines
from specter_jobs.dumps.csv.rows import CsvRows
from specter_jobs.dumps.json_values import as_year, id_of_table
from specter_jobs.dumps.records import (
    OTHER_ENCODING,
    MalformedRecord,
    PaperRecord,
    ReadOptions,
    TableColumns,
    TableLayout,
)

# Text that MySQL, PostgreSQL and Hive write for a missing value.
DATABASE_NULL = r"\N"
# Spreadsheets and R round long numbers: 1.23457E+11 may be any of a million ids.
_ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]{2,3}", re.IGNORECASE)


class CsvReader:
    """Reads CSV with a header row; the delimiter is the one with which the header has the needed columns.

    Quoted values may contain line breaks. If a row has too few or too many values, only that row is rejected.
    `specter_jobs.dumps.csv.rows` describes how quotes that are not well-formed are handled.
    """

    name = "csv"
    suffixes = (".csv", ".tsv")
    label_choices: tuple[str, ...] = ()

    def __init__(
        self, columns: TableColumns, layout: TableLayout | None = None, *, most_row_bytes: int = MAX_ROW_BYTES
    ) -> None:
        self._columns = columns
        self._layout = layout or TableLayout()
        self._most_row_bytes = most_row_bytes

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read row by row; positions count the rows after the header from 1.

        Raises:
            PaperSchemaError: A column is missing, or it is unclear where rows begin and end.
        """
        del options
        lines = CsvLines(stream, most_bytes=self._most_row_bytes)
        header = read_header(lines, self._layout, self._resolve)
        if header is None:
            return
        columns = {name: header.names.index(column) for name, column in header.columns.items()}
        rows = CsvRows(
            lines,
            header.rules,
            header.values,
            id_column=columns["paper_id"],
            guess_quotes=self._layout.quote is None,
            guess_escape=self._layout.escape is None,
        )
        for position, row in enumerate(rows, start=1):
            if row.values is None:
                yield MalformedRecord(position=position, detail=row.problem, paper_id=row.paper_id)
            else:
                yield _row(position, {name: row.values[column] for name, column in columns.items()})

    def _resolve(self, names: list[str]) -> dict[str, str]:
        schema = pa.schema([(name, pa.string()) for name in names])
        columns = self._columns.papers.resolve(schema, where="header")
        wanted = self._columns.candidates()["year"]
        year = next((name for name in wanted if name in names), None)
        if year is None and self._columns.year:
            available = ", ".join(names)
            raise PaperSchemaError(f"header: no column {self._columns.year}, got {available}; name the right one")
        return columns | ({"year": year} if year else {})


def _row(position: int, values: dict[str, str]) -> PaperRecord | MalformedRecord:
    text = {name: "" if value == DATABASE_NULL else value for name, value in values.items()}
    paper_id = id_of_table(text["paper_id"]) if _is_unicode(text["paper_id"]) else None
    for name in ("paper_id", "title", "abstract"):
        if not _is_unicode(text[name]):
            return MalformedRecord(
                position=position, detail=f"{name} is not UTF-8; {OTHER_ENCODING}", paper_id=paper_id
            )
    if paper_id is not None and _ROUNDED.fullmatch(paper_id):
        advice = "format the column of ids as text and export the file again"
        detail = f"the id {paper_id} was rounded by the program that wrote the file; {advice}"
        return MalformedRecord(position=position, detail=detail, paper_id=paper_id, reason="id_rounded")
    label = text.get("label", "")
    return PaperRecord(
        paper_id=paper_id,
        title=text["title"] or None,
        abstract=text["abstract"] or None,
        label=id_of_table(label) if _is_unicode(label) else None,
        label_unusable=not _is_unicode(label),
        year=as_year(text.get("year")),
        position=position,
    )


def _is_unicode(text: str) -> bool:
    """Return whether all bytes of a value were UTF-8; other bytes were decoded to surrogates."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
