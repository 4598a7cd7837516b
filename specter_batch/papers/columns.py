"""The columns of papers: the canonical schema, finding and checking the columns of a file, and the form of labels."""

import difflib
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import pyarrow as pa

from specter_batch.errors import PaperSchemaError
from specter_batch.inputs.path_names import shown_partitions

NO_PARTITIONS: Mapping[str, str | None] = MappingProxyType({})

PAPER_SCHEMA = pa.schema(
    [("paper_id", pa.string()), ("title", pa.string()), ("abstract", pa.string()), ("label", pa.string())]
)

# The names that are tried for each column, in this order, if the user does not give a name.
DETECTED_NAMES: Mapping[str, tuple[str, ...]] = {
    "paper_id": ("paper_id", "pid", "id", "corpusid"),
    "title": ("title",),
    "abstract": ("abstract",),
    "label": ("label", "class_label", "labels"),
}

# The name of the label column that means: read no labels, even if a column has some.
NO_LABELS = "none"

# Characters that a label may not begin or end with: white space, control characters, and invisible characters such as
# the zero-width space or the byte order mark. Selectors and tags at the end of emoji are allowed.
_BLANK_RANGES = (
    (0x00, 0x20),
    (0x7F, 0xA0),
    (0xAD, 0xAD),
    (0x1680, 0x1680),
    (0x180E, 0x180E),
    (0x2000, 0x200F),
    (0x2028, 0x202F),
    (0x205F, 0x206F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)
BLANKS = "".join(chr(code) for first, last in _BLANK_RANGES for code in range(first, last + 1))


class LabelColumnError(PaperSchemaError):
    """The label column cannot be read as text. A caller that does not need true labels can continue without them."""


@dataclass(frozen=True, kw_only=True)
class PaperColumns:
    """The column names of an input. A column whose name is None is detected (`DETECTED_NAMES`).

    If `label` is `none` or empty, no labels are read.
    """

    paper_id: str | None = None
    title: str | None = None
    abstract: str | None = None
    label: str | None = None

    def candidates(self, column: str) -> tuple[str, ...]:
        """Return the names that are tried for a canonical column, in this order; empty if it is not read."""
        wanted = getattr(self, column)
        if column == "label" and wanted is not None and wanted.strip().lower() in ("", NO_LABELS):
            return ()
        return (wanted,) if wanted else DETECTED_NAMES[column]

    def resolve_without_need_of_labels(
        self, schema: pa.Schema, *, where: str, partitions: Mapping[str, str | None] = NO_PARTITIONS
    ) -> tuple[dict[str, str], str | None]:
        """Map the names as `resolve` does, but leave out a label column that cannot be read as text.

        Args:
            schema: The schema of the file.
            where: Name of the file in messages.
            partitions: Partition column -> value, from the names of the file's folders.

        Returns:
            The names, and what is wrong with the label column, or None.

        Raises:
            PaperSchemaError: A column other than the label column is missing or cannot be read as text.
        """
        try:
            return self.resolve(schema, where=where, partitions=partitions), None
        except LabelColumnError as error:
            without = replace(self, label=NO_LABELS)
            return without.resolve(schema, where=where, partitions=partitions), str(error)

    def resolve(
        self, schema: pa.Schema, *, where: str, partitions: Mapping[str, str | None] = NO_PARTITIONS
    ) -> dict[str, str]:
        """Map canonical column names to the names in this schema; `label` is left out if the input has no labels.

        A partition column is used if the file has no column with its name. The label is detected among partition
        columns too; the other columns only if the user names them.

        Args:
            schema: The schema of the file.
            where: Name of the file in messages.
            partitions: Partition column -> value, from the names of the file's folders.

        Raises:
            PaperSchemaError: A column is missing or has a type that cannot be read as text.
            LabelColumnError: Only the label column cannot be read.
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
                check_column_type(schema.field(column), canonical=field.name, where=where)
            if column is not None:
                resolved[field.name] = column
            elif needed:
                option = f"--{field.name.replace('_', '-')}-column"
                raise PaperSchemaError(
                    f"{where}: no column for {field.name}: expected {' or '.join(candidates)}, "
                    f"got {', '.join(schema.names) or 'no columns'}{shown_partitions(partitions)}; "
                    f"name it with {option}{_column_meant(candidates, schema.names, option)}"
                )
        return resolved


def _column_meant(candidates: Sequence[str], names: Sequence[str], option: str) -> str:
    """Return a question that suggests the column with the most similar name, or an empty text."""
    folded = {name.casefold(): name for name in names}
    near = [one for name in candidates for one in difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.7)]
    return f"; did you mean {option} {shlex.quote(folded[near[0]])}?" if near else ""


def is_text(kind: pa.DataType) -> bool:
    """Return whether the values of a column of this Arrow type can be read as text: text, bytes, or only nulls."""
    in_dictionary = pa.types.is_dictionary(kind)
    kind = kind.value_type if in_dictionary else kind
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_string_view(kind) and not in_dictionary)  # pyarrow cannot decode dictionaries of string views
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_null(kind)
    )


def writable_type(kind: pa.DataType) -> pa.DataType:
    """Return the type with which values are filtered and written.

    It has no views, which pyarrow cannot filter, and is no dictionary, because dictionaries differ by batch.
    """
    if pa.types.is_dictionary(kind):
        return writable_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(writable_type(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(writable_type(kind.key_type), writable_type(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(writable_type(kind.value_type)), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(writable_type(kind.value_type)))
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(writable_type(kind.value_type)))
    return kind


def check_column_type(field: pa.Field, *, canonical: str, where: str) -> None:
    """Check that a column can be read as text; ids and labels may also be whole numbers.

    Args:
        field: The column.
        canonical: Its canonical name.
        where: Name of the file in messages.

    Raises:
        PaperSchemaError: It cannot; a `LabelColumnError` if it is the label column.
    """
    in_dictionary = pa.types.is_dictionary(field.type)
    kind = field.type.value_type if in_dictionary else field.type
    whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0 and not in_dictionary)
    whole_numbers_too = canonical in ("paper_id", "label")
    if not (is_text(field.type) or (whole_numbers_too and whole)):
        expected = "text or whole numbers" if whole_numbers_too else "text"
        floats = whole_numbers_too and pa.types.is_floating(kind)  # pandas stores integers with gaps as floats
        hint = "; write it as text or, from pandas, as Int64" if floats else ""
        kind_of_error = LabelColumnError if canonical == "label" else PaperSchemaError
        raise kind_of_error(f"{where}: column {field.name} should hold {expected}, got {field.type}{hint}")


def normalise_label(value: str | None) -> str | None:
    """Return a label in the form in which every command reads it, or None if nothing is left.

    White space and invisible characters around the label are removed, and letters with accents are composed (Unicode
    NFC). White space inside the label is kept, because it may be intended. `LabelSet.lookalikes` finds names that
    differ only in this.
    """
    if value is None:
        return None
    composed = value if value.isascii() else unicodedata.normalize("NFC", value)
    return composed.strip(BLANKS) or None


def normalise_labels(column: pa.ChunkedArray) -> pa.Array:
    """Return a text column with the result of `normalise_label` for each label; null if there is no label."""
    encoded = column.combine_chunks().dictionary_encode()
    names = [normalise_label(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)
