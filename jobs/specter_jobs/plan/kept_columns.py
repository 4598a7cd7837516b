"""The columns of the input that label files keep, and the type that each has in all of them."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from specter_batch.errors import PaperSchemaError


def kept_columns(wanted: Sequence[str], schemas: Mapping[str, pa.Schema], *, partitions: Iterable[str]) -> pa.Schema:
    """Return the columns to keep of a night's files, each with a type that holds the values of all files.

    Args:
        wanted: The names that the user asks for.
        schemas: The schema of each readable file, by the name of the file. A column is null for files without it.
        partitions: Columns that the names of folders give. They are kept anyway, so naming them changes nothing.

    Raises:
        PaperSchemaError: No file has a column of this name, or the types of its values differ too much.
    """
    by_folder = set(partitions)
    fields = []
    for name in dict.fromkeys(wanted):
        types = {file: _plain(schema.field(name).type) for file, schema in schemas.items() if _has(schema, name)}
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


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _common(name: str, types: Mapping[str, pa.DataType]) -> pa.DataType:
    """Return the type that holds the values of a column in all files."""
    try:
        schemas = [pa.schema([(name, kind)]) for kind in dict.fromkeys(types.values())]
        return pa.unify_schemas(schemas, promote_options="permissive").field(name).type
    except pa.ArrowException as error:
        first: dict[str, str] = {}
        for file, kind in types.items():
            first.setdefault(str(kind), file)
        found = " and ".join(f"{kind} in {file}" for kind, file in first.items())
        raise PaperSchemaError(
            f"--keep-columns {name}: the column is {found}, which no type holds together; write it with one type, or "
            f"leave it out of --keep-columns"
        ) from error
