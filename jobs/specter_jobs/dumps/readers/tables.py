"""Anyone's papers: JSON Lines and CSV, with the columns found by name or named by flags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import pyarrow as pa

from specter_batch.errors import PaperSchemaError
from specter_batch.papers.columns import DETECTED_NAMES, PaperColumns
from specter_jobs.dumps.csv.header import OTHER_ENCODING, read_header
from specter_jobs.dumps.csv.layout import TableLayout
from specter_jobs.dumps.csv.lines import MAX_ROW_BYTES, CsvLines
from specter_jobs.dumps.csv.rows import CsvRows
from specter_jobs.dumps.json.lines import id_of, read_json_lines
from specter_jobs.dumps.json.values import (
    NOT_UNICODE,
    as_id,
    as_text,
    as_year,
    id_of_table,
    optional_label,
    require_keys,
)
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions, WrongFormatError

YEAR_NAMES = ("year", "publication_year")
# What MySQL, PostgreSQL and Hive write for a value that is not there.
DATABASE_NULL = r"\N"
# A field that the user named and that none of the first records has was named wrongly.
SAMPLE_RECORDS = 100


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """The input's names; None means: find them (`DETECTED_NAMES`, `YEAR_NAMES`)."""

    papers: PaperColumns = field(default_factory=PaperColumns)
    year: str | None = None

    def candidates(self) -> dict[str, tuple[str, ...]]:
        """Return the names under which each canonical column is looked for, in this order."""
        names = {name: self.papers.candidates(name) for name in DETECTED_NAMES}
        return names | {"year": (self.year,) if self.year else YEAR_NAMES}


class JsonlReader:
    """Reads one JSON object a line. A field may be absent from some lines, id and title excepted."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson", ".json")
    label_choices: tuple[str, ...] = ()

    def __init__(self, columns: TableColumns) -> None:
        self._names = columns.candidates()
        label = columns.papers.label if self._names["label"] else None
        given = (columns.papers.abstract, label, columns.year)
        self._given = {name for name in given if name is not None}

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read line by line.

        Raises:
            WrongFormatError: A field that the user named is in none of the first records.
        """
        del options
        unseen = set(self._given)

        def paper(position: int, value: Any) -> PaperRecord:
            record = require_keys(value, ())
            unseen.difference_update(record)
            return self._paper(position, record)

        number = 0
        for record in read_json_lines(stream, paper, identify=id_of(*self._names["paper_id"])):
            if isinstance(record, MalformedRecord) and record.detail.endswith(NOT_UNICODE):
                record = replace(record, detail=f"{record.detail}; {OTHER_ENCODING}")
            yield record
            number += 1
            if number == SAMPLE_RECORDS and unseen:
                break
        if unseen and number:
            raise WrongFormatError(f"no record has a field {' or '.join(sorted(unseen))}; name the right one")

    def _paper(self, position: int, record: dict[str, Any]) -> PaperRecord:
        key_of = {name: next((key for key in keys if key in record), "") for name, keys in self._names.items()}
        for name in ("paper_id", "title"):
            if not key_of[name]:
                option = f"--{name.replace('_', '-')}-column"
                require_keys(record, (" or ".join(self._names[name]),), hint=f"; name it with {option}")
        label, label_unusable = optional_label(record.get(key_of["label"]) if key_of["label"] else None)
        return PaperRecord(
            paper_id=as_id(record[key_of["paper_id"]], "paper_id"),
            title=as_text(record[key_of["title"]], "title"),
            abstract=as_text(record.get(key_of["abstract"]), "abstract"),
            label=label,
            label_unusable=label_unusable,
            year=as_year(record.get(key_of["year"])),
            position=position,
        )


class CsvReader:
    """Reads CSV with a header row; the delimiter is the one that gives the header its columns.

    Quoted values may hold line breaks. A row with too few or too many values is rejected alone. What is done about
    quotes that are not well-formed is described in `csv_rows`.
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
            PaperSchemaError: A column is missing, or it cannot be told where rows begin and end.
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
    """Say whether all bytes of a value were UTF-8; those that were not are surrogates."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
