"""Reads titles and abstracts from columns of a DataFrame or of Arrow data, whatever their type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from specter_batch.errors import PaperSchemaError
from specter_batch.papers.columns import PaperColumns, is_text
from specter_batch.papers.parquet import PaperBatch, canonical_papers

if TYPE_CHECKING:
    import narwhals as nw

TEXTS = ("title", "abstract")
WHERE = "papers"
# Most columns that an error message lists.
SHOWN_COLUMNS = 20


@dataclass(frozen=True, kw_only=True)
class PaperRows:
    """Some rows of the input.

    Attributes:
        papers: Titles and abstracts in the canonical schema, without ids and labels.
        not_text: Column -> row -> type of the value that is there instead of text. Such a value counts as missing.
    """

    papers: PaperBatch
    not_text: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


def text_columns(columns: PaperColumns, names: Sequence[Any]) -> dict[str, str]:
    """Return the name of the title column and of the abstract column.

    Args:
        columns: The names that the user gave.
        names: The names of all columns of the input.

    Raises:
        PaperSchemaError: There is no such column.
    """
    found: dict[str, str] = {}
    for canonical in TEXTS:
        candidates = columns.candidates(canonical)
        column = next((name for name in candidates if name in names), None)
        if column is None:
            listed = ", ".join(map(str, names[:SHOWN_COLUMNS])) + (", …" if len(names) > SHOWN_COLUMNS else "")
            raise PaperSchemaError(
                f"{WHERE}: no column for {canonical}: expected {' or '.join(map(repr, candidates))}, got "
                f"{listed or 'no columns'}; name it with {canonical}_column='…'"
            )
        found[canonical] = column
    return found


def rows_of_arrays(arrays: Mapping[str, pa.Array]) -> PaperRows:
    """Return the papers whose titles and abstracts are in Arrow arrays."""
    return PaperRows(papers=_papers(arrays))


def rows_of_series(series: Mapping[str, "nw.Series[Any]"]) -> PaperRows:
    """Return the papers whose titles and abstracts are in columns of a DataFrame."""
    arrays = {name: _array(series[name]) for name in TEXTS}
    return PaperRows(
        papers=_papers({name: array for name, (array, _) in arrays.items()}),
        not_text={name: others for name, (_, others) in arrays.items()},
    )


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array; dictionaries are decoded, because chunks may have different ones."""
    if pa.types.is_dictionary(column.type):
        chunks = [chunk.dictionary_decode() for chunk in column.chunks]
        return pa.concat_arrays(chunks) if chunks else pa.array([], column.type.value_type)
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def _papers(arrays: Mapping[str, pa.Array]) -> PaperBatch:
    batch = pa.RecordBatch.from_arrays([arrays[name] for name in TEXTS], names=list(TEXTS))
    return canonical_papers(batch, {name: name for name in TEXTS})


def _array(series: "nw.Series[Any]") -> tuple[pa.Array, Mapping[int, str]]:
    """Return a column as an array of text, and the rows that have something else, with its type."""
    try:
        array = series.to_arrow()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # values of different types, or broken text
        array = None
    if isinstance(array, pa.ChunkedArray):
        array = one_array(array)
    if array is not None and (is_text(array.type) or array.null_count == len(array)):
        return array if is_text(array.type) else pa.nulls(len(array)), {}
    texts: list[bytes | None] = []
    others: dict[int, str] = {}
    for row, (value, is_null) in enumerate(zip(series.to_list(), series.is_null().to_list(), strict=True)):
        if isinstance(value, str):
            texts.append(value.encode("utf-8", "surrogatepass"))  # half a surrogate pair makes invalid UTF-8
        elif isinstance(value, bytes):
            texts.append(value)
        else:
            texts.append(None)
            if not is_null:
                others[row] = type(value).__name__
    return pa.array(texts, pa.large_binary()), others
