"""The columns of the rows of a night, as they are read."""

from collections.abc import Iterable

import pyarrow as pa

LABELLED, REUSED, REJECTED, FAILED = STATUSES = ("labelled", "reused", "rejected", "failed")
# Columns that can take more room than all others together. They are read only if they are asked for by name.
BULKY = ("logits", "embedding")

DICTIONARY = pa.dictionary(pa.int32(), pa.string())
# The columns that every night has here, in this order. Nights of older versions have null in some of them.
ROW_SCHEMA = pa.schema(
    [
        ("file", DICTIONARY),
        ("row", pa.int64()),
        ("paper_id", pa.string()),
        ("status", DICTIONARY),
        ("label", pa.string()),
        ("label_id", pa.int32()),
        ("score", pa.float64()),
        ("runner_up", pa.string()),
        ("margin", pa.float64()),
        ("true_label", pa.string()),
        ("seen_in_training", pa.bool_()),
        ("reject_reason", pa.string()),
        ("reject_detail", pa.string()),
        ("text_hash", pa.string()),
        ("reused", pa.bool_()),
    ]
)
# Columns that a label file cannot give. A kept input column of such a name is renamed.
OURS = frozenset({"status", "reject_reason", "reject_detail", "title", "abstract"})
# The columns that come first, because people look at them first.
_FIRST = ("file", "row", "paper_id", "title", "abstract")


def in_order(fields: Iterable[pa.Field]) -> list[pa.Field]:
    """Return the columns of a night and its papers in the order in which they are shown, without the bulky ones."""
    named = {field.name: field for field in fields if field.name not in BULKY}
    first = [name for name in _FIRST if name in named]
    return [named[name] for name in (*first, *(name for name in named if name not in first))]
