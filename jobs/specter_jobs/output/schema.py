"""The columns of label files and reject files, for the code that writes, checks and reads them."""

import pyarrow as pa

RUNNER_UP, MARGIN = "runner_up", "margin"
# The columns of label files that nights of version 0.1.0 wrote.
FORMER_LABEL_SCHEMA = pa.schema(
    [
        ("paper_id", pa.string()),
        ("label", pa.string()),
        ("label_id", pa.int32()),
        ("score", pa.float64()),
        ("text_hash", pa.string()),
        ("reused", pa.bool_()),
    ]
)
# The columns that every label file begins with. `LabelForm` adds the columns that options ask for.
LABEL_SCHEMA = pa.schema(
    [
        *FORMER_LABEL_SCHEMA,
        ("file", pa.string()),
        ("row", pa.int64()),
        (RUNNER_UP, pa.string()),
        (MARGIN, pa.float64()),
        ("true_label", pa.string()),
        ("seen_in_training", pa.bool_()),
    ]
)
# The columns that a night can be asked for.
PROBABILITIES = "probabilities"
TOP_LABELS, TOP_SCORES = "top_labels", "top_scores"
EMBEDDING = "embedding"
STAMPED_BUNDLE, STAMPED_NIGHT = "bundle", "night"
LOGITS = "logits"
# Columns of the input with one of these names get another name in label files.
OWN_NAMES = frozenset(
    {
        *LABEL_SCHEMA.names,
        *(PROBABILITIES, TOP_LABELS, TOP_SCORES, EMBEDDING, STAMPED_BUNDLE, STAMPED_NIGHT, LOGITS),
    }
)

# One row for each rejected row of the input. `row` counts from the beginning of the input file.
REJECT_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row_group", pa.int32()),
        ("row", pa.int64()),
        ("paper_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


def vector_type(size: int) -> pa.DataType:
    """Return the type of the column of vectors: half as large as float32, and exact to three digits."""
    return pa.list_(pa.float16(), size)


def missing_columns(held: pa.Schema, wanted: pa.Schema) -> list[tuple[pa.Field, pa.DataType | None]]:
    """Return the columns that a file should have and lacks, each with the type that it has there instead, or None.

    Args:
        held: The columns of the file. There may be others.
        wanted: The columns that it should have.
    """
    types = {name: held.field(name).type if name in held.names else None for name in wanted.names}
    return [(field, types[field.name]) for field in wanted if types[field.name] != field.type]
