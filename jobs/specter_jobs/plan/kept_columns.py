"""The columns of the input that label files keep, and the type that each has in all of them."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from specter_batch.errors import PaperSchemaError
from specter_batch.papers.columns import writable_type

_TEXTS = (pa.string(), pa.large_string())
_BYTES = (pa.binary(), pa.large_binary())


def kept_columns(wanted: Sequence[str], schemas: Mapping[str, pa.Schema], *, partitions: Iterable[str]) -> pa.Schema:
    """Return the columns to keep of a night's files, each with a type that holds the values of all files.

    Args:
        wanted: The names that the user asks for.
        schemas: The schema of each readable file, by the name of the file. A column is null for files without it.
        partitions: Columns that the names of folders give. They are kept anyway, so naming them changes nothing.

    Raises:
        PaperSchemaError: No file has a column of this name, or no type holds every value of it in two files.
    """
    by_folder = set(partitions)
    fields = []
    for name in dict.fromkeys(wanted):
        having = [file for file in sorted(schemas) if _has(schemas[file], name)]
        types = {file: writable_type(schemas[file].field(name).type) for file in having}
        if types:
            fields.append(pa.field(name, _common(name, types)))
        elif name not in by_folder:
            known = sorted({column for schema in schemas.values() for column in schema.names} | by_folder)
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise PaperSchemaError(
                f"--keep-columns {name}: no file of DUMP has exactly one column of this name{meant}; "
                f"give names among {', '.join(known)}"
            )
    return pa.schema(fields)


def _has(schema: pa.Schema, name: str) -> bool:
    return bool(schema.names.count(name) == 1)


def _common(name: str, types: Mapping[str, pa.DataType]) -> pa.DataType:
    """Return the type that holds every value of a column in all files."""
    first: dict[pa.DataType, str] = {}
    for file, kind in types.items():
        first.setdefault(kind, file)
    common = next(iter(first))
    for kind, file in first.items():
        both = _holding_both(common, kind)
        if both is None:
            other = next(one for one in first if _holding_both(one, kind) is None)
            raise PaperSchemaError(
                f"--keep-columns {name}: the column is {other} in {first[other]} and {kind} in {file}, and no type "
                "holds every value of both; write it with one type in all files, or leave it out of --keep-columns"
            )
        common = both
    return common


def _holding_both(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the smallest type that holds every value of two types exactly; None if we know of none."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    for is_of_kind in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        if is_of_kind(one) and is_of_kind(other):
            return max(one, other, key=lambda kind: kind.bit_width)
    if pa.types.is_decimal(one) and pa.types.is_decimal(other):
        widest = max(one, other, key=lambda kind: (kind.precision, kind.bit_width))
        return widest if one.scale == other.scale else None
    for kinds, largest in ((_TEXTS, pa.large_string()), (_BYTES, pa.large_binary())):
        if one in kinds and other in kinds:
            return largest
    if _is_list(one) and _is_list(other):
        values = _holding_both(one.value_type, other.value_type)
        are_large = pa.types.is_large_list(one) or pa.types.is_large_list(other)
        return None if values is None else pa.large_list(values) if are_large else pa.list_(values)
    return None


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
