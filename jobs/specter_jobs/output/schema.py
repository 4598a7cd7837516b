"""The columns of the files of labels and of rejects, for those who write, check and read them."""

import pyarrow as pa

# Every label file has these columns, and `probabilities` beside them where the night was asked for it.
LABEL_SCHEMA = pa.schema(
    [
        ("paper_id", pa.string()),
        ("label", pa.string()),
        ("label_id", pa.int32()),
        ("score", pa.float64()),
        ("text_hash", pa.string()),
        ("reused", pa.bool_()),
    ]
)
PROBABILITIES = "probabilities"

# Why each row is rejected; `row` counts from the beginning of the input file.
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


def label_schema(*, n_probabilities: int | None = None) -> pa.Schema:
    """Return the schema of a label file.

    Args:
        n_probabilities: The number of labels of a night that writes their probabilities; None for other nights.
    """
    if n_probabilities is None:
        return LABEL_SCHEMA
    return LABEL_SCHEMA.append(pa.field(PROBABILITIES, pa.list_(pa.float32(), n_probabilities)))


def missing_columns(held: pa.Schema, wanted: pa.Schema) -> list[tuple[pa.Field, pa.DataType | None]]:
    """Return the columns that a file should have and has not, each with the type that it has there instead, or None.

    Args:
        held: The columns of the file; it may have others.
        wanted: The columns that it should have.
    """
    types = {name: held.field(name).type if name in held.names else None for name in wanted.names}
    return [(field, types[field.name]) for field in wanted if types[field.name] != field.type]
