"""Anyone's papers: JSON Lines and CSV, with the columns found by name or named by flags."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pc

from specter_batch.errors import PaperSchemaError
from specter_batch.papers import DETECTED_NAMES, PaperColumns
from specter_jobs.dumps.json_lines import id_of, read_json_lines
from specter_jobs.dumps.json_values import as_id, as_text, as_year, require_keys, single
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions, WrongFormatError

YEAR_NAMES = ("year", "publication_year")
# A row must fit into a block; a few blocks are held at once.
CSV_BLOCK_BYTES = 8 << 20
HEADER_BYTES = 1 << 16
# A field that the user named and that none of the first records has was named wrongly.
SAMPLE_RECORDS = 100


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """The input's names; None means: find them (`DETECTED_NAMES`, `YEAR_NAMES`)."""

    papers: PaperColumns = field(default_factory=PaperColumns)
    year: str | None = None

    def candidates(self) -> dict[str, tuple[str, ...]]:
        """Return the names under which each canonical column is looked for, in this order."""
        given = {name: getattr(self.papers, name) for name in DETECTED_NAMES} | {"year": self.year}
        detected = dict(DETECTED_NAMES) | {"year": YEAR_NAMES}
        return {name: (given[name],) if given[name] else detected[name] for name in detected}


class JsonlReader:
    """Reads one JSON object a line. A field may be absent from some lines, id and title excepted."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson", ".json")
    label_choices: tuple[str, ...] = ()

    def __init__(self, columns: TableColumns) -> None:
        self._names = columns.candidates()
        given = (columns.papers.abstract, columns.papers.label, columns.year)
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
            yield record
            number += 1
            if number == SAMPLE_RECORDS and unseen:
                break
        if unseen and number:
            raise WrongFormatError(f"no record has a field {' or '.join(sorted(unseen))}; name the right one")

    def _paper(self, position: int, record: dict[str, Any]) -> PaperRecord:
        found = {name: next((key for key in keys if key in record), "") for name, keys in self._names.items()}
        for name in ("paper_id", "title"):
            if not found[name]:
                option = f"--{name.replace('_', '-')}-column"
                require_keys(record, (" or ".join(self._names[name]),), hint=f"; name it with {option}")
        return PaperRecord(
            paper_id=as_id(record[found["paper_id"]], "paper_id"),
            title=as_text(record[found["title"]], "title"),
            abstract=as_text(record.get(found["abstract"]), "abstract"),
            label=single(record.get(found["label"]), "label"),
            year=as_year(record.get(found["year"])),
            position=position,
        )


class CsvReader:
    """Reads CSV with a header row; comma, tab or semicolon, whichever the header has most of.

    Quoted values may hold line breaks. A row with too few or too many values is rejected alone.
    """

    name = "csv"
    suffixes = (".csv", ".tsv")
    label_choices: tuple[str, ...] = ()

    def __init__(self, columns: TableColumns) -> None:
        self._columns = columns

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read row by row; positions count the rows after the header from 1.

        Raises:
            PaperSchemaError: A column is missing, or a row does not fit into a block.
        """
        del options
        buffered = io.BufferedReader(stream, HEADER_BYTES)  # type: ignore[type-var]  # any readable stream will do
        header = buffered.peek(HEADER_BYTES).partition(b"\n")[0].rstrip(b"\r")
        if not header:
            return
        delimiter = max(",\t;", key=lambda mark: header.count(mark.encode()))
        parsing = pc.ParseOptions(delimiter=delimiter)
        columns = self._resolve(pc.read_csv(io.BytesIO(header + b"\n"), parse_options=parsing).schema.names)
        uneven: deque[tuple[int, str]] = deque()
        try:
            position = 0
            for batch in _batches(buffered, columns, delimiter, uneven):
                for values in zip(*(batch.column(name).to_pylist() for name in columns.values()), strict=True):
                    position += 1
                    while uneven and uneven[0][0] == position:
                        yield MalformedRecord(position=position, detail=uneven.popleft()[1])
                        position += 1
                    yield _row(position, dict(zip(columns, values, strict=True)))
        except pa.ArrowInvalid as error:
            raise PaperSchemaError(f"not readable as CSV after row {position}: {error}") from error
        for number, detail in uneven:
            yield MalformedRecord(position=number, detail=detail)

    def _resolve(self, names: list[str]) -> dict[str, str]:
        schema = pa.schema([(name, pa.string()) for name in names])
        columns = self._columns.papers.resolve(schema, where="header")
        wanted = self._columns.candidates()["year"]
        year = next((name for name in wanted if name in names), None)
        if year is None and self._columns.year:
            found = ", ".join(names)
            raise PaperSchemaError(f"header: no column {self._columns.year}, got {found}; name the right one")
        return columns | ({"year": year} if year else {})


def _batches(
    stream: io.BufferedReader[Any], columns: dict[str, str], delimiter: str, uneven: deque[tuple[int, str]]
) -> Iterator[pa.RecordBatch]:
    def skip(row: pc.InvalidRow) -> str:
        problem = f"{row.actual_columns} values in a row of {row.expected_columns} columns"
        uneven.append((row.number - 1, problem))  # the header is row 1 there
        return "skip"

    return iter(
        pc.open_csv(
            stream,
            read_options=pc.ReadOptions(block_size=CSV_BLOCK_BYTES, use_threads=False),
            parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pc.ConvertOptions(
                include_columns=list(columns.values()),
                # Bytes, so that one value that is not UTF-8 costs its row and not the file.
                column_types=dict.fromkeys(columns.values(), pa.binary()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    )


def _row(position: int, values: dict[str, bytes | None]) -> PaperRecord | MalformedRecord:
    text: dict[str, str] = {}
    problem = None
    for name, value in values.items():
        try:
            text[name] = value.decode() if value is not None else ""
        except UnicodeDecodeError:
            problem = f"{name} is not UTF-8"
    paper_id = text.get("paper_id", "").strip() or None
    if problem:
        return MalformedRecord(position=position, detail=problem, paper_id=paper_id)
    return PaperRecord(
        paper_id=paper_id,
        title=text["title"] or None,
        abstract=text["abstract"] or None,
        label=text.get("label", "").strip() or None,
        year=as_year(text.get("year")),
        position=position,
    )
