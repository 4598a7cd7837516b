"""The columns of labels and rejects: declared once, and the ones that the files, the checker and the pages have."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from specter_batch.papers.labels import LabelSet
from specter_batch.papers.parquet import read_table, write_table
from specter_jobs.output.label_form import LabelForm
from specter_jobs.output.schema import (
    FORMER_LABEL_SCHEMA,
    LABEL_SCHEMA,
    LOGITS,
    OWN_NAMES,
    PROBABILITIES,
    REJECT_SCHEMA,
    missing_columns,
)
from specter_jobs.plan.sections import LabelColumns

FILES_PAGE = Path(__file__).parents[3] / "docs/files.md"


def form(**changes: Any) -> LabelForm:
    settings = {name: changes.pop(name) for name in list(changes) if name in LabelColumns.model_fields}
    values = {
        "labels": LabelSet(names=("a", "b", "é")),
        "logit_divisor": 1.25,
        "bundle": "f0",
        "night": date(2026, 11, 26),
        "columns": LabelColumns(**settings),
        "kept": pa.schema([]),
        "partitions": (),
    }
    return LabelForm(**(values | changes))


FORM = form(probabilities=True, top_k=2, stamp=True, kept=pa.schema([("year", pa.int32())]), partitions=("part",))


def test_the_columns_that_are_asked_for_come_after_those_of_every_file() -> None:
    optional = ["probabilities", "top_labels", "top_scores", "year", "part", "bundle", "night", "logits"]
    assert FORM.schema.names == [*LABEL_SCHEMA.names, *optional]
    assert form().schema.names == [*LABEL_SCHEMA.names, LOGITS]
    assert form(logits=False).schema.names == LABEL_SCHEMA.names
    for name in (PROBABILITIES, LOGITS):
        assert FORM.schema.field(name).type == pa.list_(pa.float32(), 3)
    assert LABEL_SCHEMA.names[:6] == FORMER_LABEL_SCHEMA.names
    assert set(optional) - {"year", "part"} <= OWN_NAMES


def test_columns_of_the_input_with_our_names_are_renamed() -> None:
    kept = pa.schema([(name, pa.string()) for name in ("label", "doi", "input_label", "embedding")])
    names = form(kept=kept, partitions=("score", "doi2")).input_names
    assert names == {
        "label": "input_label",
        "doi": "doi",
        "input_label": "input_input_label",
        "embedding": "input_embedding",
        "score": "input_score",
        "doi2": "doi2",
    }


def test_names_that_differ_in_case_only_are_renamed_too() -> None:
    kept = pa.schema([(name, pa.string()) for name in ("Label", "label", "doi", "DOI")])
    assert form(kept=kept, partitions=("SCORE",)).input_names == {
        "Label": "input_Label",
        "label": "input_input_label",
        "doi": "doi",
        "DOI": "input_DOI",
        "SCORE": "input_SCORE",
    }


def test_a_label_file_says_which_night_and_model_it_is_of(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.parquet", FORM.schema.empty_table())
    held = read_table(tmp_path / "labels.parquet").schema
    assert held.metadata[b"bundle"] == b"f0" and held.metadata[b"night"] == b"2026-11-26"
    assert float(held.metadata[b"temperature"]) == 1.25
    for metadata in (held.metadata, held.field(PROBABILITIES).metadata, held.field(LOGITS).metadata):
        assert json.loads(metadata[b"labels"]) == ["a", "b", "é"]


def test_missing_columns_are_those_that_are_not_there_or_of_another_type() -> None:
    assert missing_columns(LABEL_SCHEMA, LABEL_SCHEMA) == []
    assert missing_columns(FORM.schema, LABEL_SCHEMA) == []
    held = pa.schema([field for field in LABEL_SCHEMA if field.name != "reused"])
    held = held.set(held.get_field_index("score"), pa.field("score", pa.string()))
    assert [(field.name, kind) for field, kind in missing_columns(held, LABEL_SCHEMA)] == [
        ("score", pa.string()),
        ("reused", None),
    ]


@pytest.mark.parametrize(("kind", "schema"), [("labels", LABEL_SCHEMA), ("rejects", REJECT_SCHEMA)])
def test_the_docs_name_every_column_of_the_files(kind: str, schema: pa.Schema) -> None:
    (row,) = re.findall(rf"^\| `{kind}/\*\.parquet` \| (.*) \|$", FILES_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert row.startswith(f"`{', '.join(schema.names)}`")
