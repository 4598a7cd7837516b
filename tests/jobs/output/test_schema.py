"""The columns of labels and rejects: declared once, and the ones that the files, the checker and the pages have."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from specter_jobs.output.schema import LABEL_SCHEMA, PROBABILITIES, REJECT_SCHEMA, label_schema, missing_columns

FILES_PAGE = Path(__file__).parents[3] / "docs/files.md"


def test_probabilities_are_one_more_column() -> None:
    schema = label_schema(n_probabilities=3)
    assert schema.names == [*LABEL_SCHEMA.names, PROBABILITIES]
    assert schema.field(PROBABILITIES).type == pa.list_(pa.float32(), 3)
    assert label_schema() == LABEL_SCHEMA


def test_missing_columns_are_those_that_are_not_there_or_of_another_type() -> None:
    assert missing_columns(LABEL_SCHEMA, LABEL_SCHEMA) == []
    assert missing_columns(label_schema(n_probabilities=2), LABEL_SCHEMA) == []
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
