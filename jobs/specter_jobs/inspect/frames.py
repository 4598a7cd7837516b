"""Turns arrow tables into the DataFrames of pandas and polars, which are loaded only here and only when asked for."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Literal

import pyarrow as pa

from specter_batch.errors import UsageError

Kind = Literal["pandas", "polars", "arrow", "batches"]
KINDS = ("pandas", "polars", "arrow", "batches")


def check_kind(kind: str) -> None:
    """Check that a kind of table is known and its package is installed.

    Raises:
        UsageError: It is not.
    """
    if kind not in KINDS:
        raise UsageError(f"as_={kind!r}: expected one of {', '.join(KINDS)}")
    if kind in ("pandas", "polars"):
        _package(kind)


def frame(tables: Iterator[pa.Table], schema: pa.Schema, kind: Kind) -> Any:
    """Return tables of one schema as one DataFrame, as one arrow table, or as a reader of arrow batches."""
    if kind == "batches":
        return pa.RecordBatchReader.from_batches(schema, (batch for table in tables for batch in table.to_batches()))
    table = pa.concat_tables([schema.empty_table(), *tables]).unify_dictionaries()
    if kind == "arrow":
        return table
    if kind == "polars":
        return _package(kind).from_arrow(table)
    pandas = _package("pandas")
    # Without these types, whole numbers and truth values with gaps become floats and objects.
    types = {pa.int32(): pandas.Int32Dtype(), pa.int64(): pandas.Int64Dtype(), pa.bool_(): pandas.BooleanDtype()}
    return table.to_pandas(types_mapper=types.get)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        package = "'specter-batch[pandas]'" if name == "pandas" else name
        raise UsageError(f'{name} is not installed; it needs: pip install {package}. Or give as_="arrow"') from None
