"""Read papers from JSON Lines files; fields are found by name or given by options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from specter_batch.errors import WrongFormatError
from specter_jobs.dumps.json_records import id_of, read_json_lines
from specter_jobs.dumps.json_values import (
    NOT_UNICODE,
    JsonObject,
    as_id,
    as_text,
    as_year,
    optional_label,
    require_keys,
)
from specter_jobs.dumps.records import OTHER_ENCODING, MalformedRecord, PaperRecord, ReadOptions, TableColumns

# Number of first records that must contain a field that the user named; if none has it, the name is wrong.
SAMPLE_RECORDS = 100


class JsonlReader:
    """Reads one JSON object per line. Some lines may lack a field, except id and title."""

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

    def _paper(self, position: int, record: JsonObject) -> PaperRecord:
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
