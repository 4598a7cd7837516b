"""The columns of papers: the canonical schema, and how the columns of a file are found and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import pyarrow as pa

from specter_batch.errors import PaperSchemaError
from specter_batch.inputs.partitions import shown_partitions

NO_PARTITIONS: Mapping[str, str | None] = MappingProxyType({})

PAPER_SCHEMA = pa.schema(
    [("paper_id", pa.string()), ("title", pa.string()), ("abstract", pa.string()), ("label", pa.string())]
)

# Names under which each column is looked for, in this order, when the user does not name one.
DETECTED_NAMES: Mapping[str, tuple[str, ...]] = {
    "paper_id": ("paper_id", "pid", "id", "corpusid"),
    "title": ("title",),
    "abstract": ("abstract",),
    "label": ("label", "class_label", "labels"),
}

# As the name of the label column: read no labels, even if there is a column that holds some.
NO_LABELS = "none"


class LabelColumnError(PaperSchemaError):
    """The label column cannot be read as text; who does not need true labels can go without them."""


@dataclass(frozen=True, kw_only=True)
class PaperColumns:
    """The input's column names; None means: detect it (`DETECTED_NAMES`).

    As `label`, `none` or an empty name means: read no labels.
    """

    paper_id: str | None = None
    title: str | None = None
    abstract: str | None = None
    label: str | None = None

    def candidates(self, column: str) -> tuple[str, ...]:
        """Return the names under which a canonical column is looked for, in this order; none if it is not wanted."""
        wanted = getattr(self, column)
        if column == "label" and wanted is not None and wanted.strip().lower() in ("", NO_LABELS):
            return ()
        return (wanted,) if wanted else DETECTED_NAMES[column]

    def resolve_without_need_of_labels(
        self, schema: pa.Schema, *, where: str, partitions: Mapping[str, str | None] = NO_PARTITIONS
    ) -> tuple[dict[str, str], str | None]:
        """Map the names as `resolve` does, but leave out a label column that cannot be read as text.

        Args:
            schema: The file's.
            where: The file, for messages.
            partitions: As in `resolve`.

        Returns:
            The names, and what is wrong with the label column, or None.

        Raises:
            PaperSchemaError: As in `resolve`, for the other columns.
        """
        try:
            return self.resolve(schema, where=where, partitions=partitions), None
        except LabelColumnError as error:
            without = replace(self, label=NO_LABELS)
            return without.resolve(schema, where=where, partitions=partitions), str(error)

    def resolve(
        self, schema: pa.Schema, *, where: str, partitions: Mapping[str, str | None] = NO_PARTITIONS
    ) -> dict[str, str]:
        """Map canonical names to this schema's names; `label` is left out when the input has none.

        A partition is a column too, if the file has no column of its name: the label is looked for among them, the
        others only if the user names one.

        Args:
            schema: The file's.
            where: The file, for messages.
            partitions: Columns that the names of the file's folders give, and their values.

        Raises:
            PaperSchemaError: A column is missing or of a type that cannot be read as text.
            LabelColumnError: It is the label column, and the other columns are good.
        """
        resolved: dict[str, str] = {}
        for field in fields(self):
            candidates = self.candidates(field.name)
            needed = field.name != "label" or (bool(candidates) and self.label is not None)
            partitioned = partitions if getattr(self, field.name) or field.name == "label" else NO_PARTITIONS
            column = next((name for name in candidates if name in schema.names or name in partitioned), None)
            if column in schema.names:
                kind = LabelColumnError if field.name == "label" else PaperSchemaError
                if schema.names.count(column) > 1:
                    raise kind(f"{where}: has {schema.names.count(column)} columns named {column}; rename them")
                _check_type(schema.field(column), canonical=field.name, where=where)
            if column is not None:
                resolved[field.name] = column
            elif needed:
                option = f"--{field.name.replace('_', '-')}-column"
                raise PaperSchemaError(
                    f"{where}: no column for {field.name}: expected {' or '.join(candidates)}, "
                    f"got {', '.join(schema.names) or 'no columns'}{shown_partitions(partitions)}; "
                    f"name it with {option}"
                )
        return resolved


def _check_type(field: pa.Field, *, canonical: str, where: str) -> None:
    in_dictionary = pa.types.is_dictionary(field.type)
    kind = field.type.value_type if in_dictionary else field.type
    textual = (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_string_view(kind) and not in_dictionary)  # which pyarrow cannot decode
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_null(kind)
    )
    whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0 and not in_dictionary)
    whole_numbers_too = canonical in ("paper_id", "label")
    if not (textual or (whole_numbers_too and whole)):
        expected = "text or whole numbers" if whole_numbers_too else "text"
        floats = whole_numbers_too and pa.types.is_floating(kind)  # what pandas makes of numbers with gaps
        hint = "; write it as text or, from pandas, as Int64" if floats else ""
        kind_of_error = LabelColumnError if canonical == "label" else PaperSchemaError
        raise kind_of_error(f"{where}: column {field.name} should hold {expected}, got {field.type}{hint}")
