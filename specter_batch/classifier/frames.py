"""The kinds of papers that a classifier takes: DataFrames, Arrow tables, and streams of Arrow batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Protocol

import narwhals as nw
import pyarrow as pa
import pyarrow.dataset as ds

from specter_batch.classifier.text_columns import (
    WHERE,
    PaperRows,
    one_array,
    rows_of_arrays,
    rows_of_series,
    text_columns,
)
from specter_batch.errors import PaperSchemaError
from specter_batch.papers.columns import PaperColumns, check_column_type

# A dataset would otherwise hold sixteen large batches of several files in memory.
STREAMED_ROWS = 8192
STREAMED_BATCHES = 2

TAKEN = (
    "a pandas or polars DataFrame, a pyarrow Table or RecordBatch, or for more papers than fit in memory a pyarrow "
    "RecordBatchReader or Dataset"
)
# Types of columns whose values may be text. Values of the last three are looked at one by one.
_TEXT_TYPES = (nw.String, nw.Categorical, nw.Enum, nw.Binary, nw.Object, nw.Unknown)


class Papers(Protocol):
    """Papers in memory."""

    @property
    def names(self) -> list[Any]:
        """The names of all columns."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def rows(self, start: int, stop: int) -> PaperRows:
        """Return the titles and abstracts of some rows."""

    def with_columns(self, results: pa.Table) -> Any:
        """Return the papers, in the kind in which they were given, with more columns."""


class ArrowPapers:
    """The papers of a pyarrow Table or RecordBatch.

    Args:
        data: The table or batch.
        columns: The names that the user gave for its columns.
    """

    def __init__(self, data: Any, columns: PaperColumns) -> None:
        self._data = data
        self._texts = arrow_columns(data.schema, columns)

    @property
    def names(self) -> list[Any]:
        """The names of all columns."""
        return list(self._data.schema.names)

    def __len__(self) -> int:
        return int(self._data.num_rows)

    def rows(self, start: int, stop: int) -> PaperRows:
        """Return the titles and abstracts of some rows."""
        return arrow_rows(self._data.slice(start, stop - start), self._texts)

    def with_columns(self, results: pa.Table) -> Any:
        """Return the table or batch with more columns."""
        return _with_columns(self._data, results)


class DataFramePapers:
    """The papers of a DataFrame of pandas, polars or another library that narwhals knows.

    Args:
        frame: The DataFrame.
        columns: The names that the user gave for its columns.
    """

    def __init__(self, frame: nw.DataFrame[Any], columns: PaperColumns) -> None:
        self._frame = frame
        self._texts = text_columns(columns, frame.columns)
        for name in self._texts.values():
            series = frame[name]
            if not isinstance(series.dtype, _TEXT_TYPES) and series.null_count() < len(series):
                raise PaperSchemaError(
                    f"{WHERE}: column {name} should hold text, got {series.dtype}; name the right column with "
                    f"{next(column for column, found in self._texts.items() if found == name)}_column='…'"
                )

    @property
    def names(self) -> list[Any]:
        """The names of all columns."""
        return self._frame.columns

    def __len__(self) -> int:
        return len(self._frame)

    def rows(self, start: int, stop: int) -> PaperRows:
        """Return the titles and abstracts of some rows."""
        return rows_of_series({column: self._frame[name][start:stop] for column, name in self._texts.items()})

    def with_columns(self, results: pa.Table) -> Any:
        """Return the DataFrame with more columns; its index and, in pandas, its `attrs` are kept."""
        added = nw.from_arrow(results, backend=self._frame.implementation)
        labelled = self._frame.with_columns(*(added[name] for name in added.columns)).to_native()
        attrs = getattr(self._frame.to_native(), "attrs", None)
        if attrs:
            labelled.attrs = deepcopy(attrs)
        return labelled


def papers_in_memory(papers: Any, columns: PaperColumns) -> Papers:
    """Return papers of any kind that is in memory.

    Raises:
        TypeError: It is another kind.
        PaperSchemaError: Its columns cannot be used.
    """
    if isinstance(papers, pa.Table | pa.RecordBatch):
        return ArrowPapers(papers, columns)
    try:
        frame = nw.from_native(papers, eager_only=True)
    except TypeError:
        raise TypeError(_refusal(papers)) from None
    except nw.exceptions.DuplicateError:
        raise PaperSchemaError(
            f"{WHERE}: two columns have the same name; keep the first ones with "
            "papers.loc[:, ~papers.columns.duplicated()], or rename them"
        ) from None
    if any(isinstance(name, tuple) for name in frame.columns):
        raise PaperSchemaError(
            f"{WHERE}: a column name is a tuple, as in a pandas MultiIndex; give each column one name with "
            "papers.columns = ['_'.join(map(str, name)) for name in papers.columns]"
        )
    return DataFramePapers(frame, columns)


def stream_of(papers: Any) -> pa.RecordBatchReader | None:
    """Return a reader for papers that come as a stream; None if they are of another kind."""
    if isinstance(papers, pa.RecordBatchReader):
        return papers
    if isinstance(papers, ds.Dataset):
        return papers.scanner(
            batch_size=STREAMED_ROWS, batch_readahead=STREAMED_BATCHES, fragment_readahead=1
        ).to_reader()
    return None


def labelled_stream(
    reader: pa.RecordBatchReader,
    columns: PaperColumns,
    added: pa.Schema,
    label: Callable[[Iterable[PaperRows]], Iterator[pa.Table]],
    *,
    rows_at_once: int,
) -> pa.RecordBatchReader:
    """Return a reader that labels papers while it is read.

    Args:
        reader: The papers.
        columns: The names that the user gave for the columns.
        added: The columns that are added.
        label: Returns the added columns for each part, in order.
        rows_at_once: Most rows of a part.
    """
    texts = arrow_columns(reader.schema, columns)
    schema = reader.schema
    for one in added:
        schema = schema.append(one)

    def batches() -> Iterator[pa.RecordBatch]:
        slices: list[pa.RecordBatch] = []

        def parts() -> Iterator[PaperRows]:
            for batch in reader:
                for start in range(0, batch.num_rows, rows_at_once):
                    slices.append(batch.slice(start, rows_at_once))
                    yield arrow_rows(slices[-1], texts)

        for results in label(parts()):
            yield _with_columns(slices.pop(0), results)

    return pa.RecordBatchReader.from_batches(schema, batches())


def arrow_columns(schema: pa.Schema, columns: PaperColumns) -> Mapping[str, str]:
    """Return the names of the title and the abstract column of Arrow data.

    Raises:
        PaperSchemaError: There is no such column, or it does not hold text.
    """
    texts = text_columns(columns, schema.names)
    for canonical, name in texts.items():
        if schema.names.count(name) > 1:
            raise PaperSchemaError(f"{WHERE}: {schema.names.count(name)} columns are named {name}; rename them")
        check_column_type(schema.field(name), canonical=canonical, where=WHERE)
    return texts


def arrow_rows(data: Any, texts: Mapping[str, str]) -> PaperRows:
    """Return the titles and abstracts of a small Table or RecordBatch."""
    columns = {column: data.column(name) for column, name in texts.items()}
    return rows_of_arrays({name: one if isinstance(one, pa.Array) else one_array(one) for name, one in columns.items()})


def _with_columns(data: Any, results: pa.Table) -> Any:
    for one in results.schema:
        column = results.column(one.name)
        data = data.append_column(one, column if isinstance(data, pa.Table) else one_array(column))
    return data


def _refusal(papers: Any) -> str:
    kind = f"{type(papers).__module__.partition('.')[0]}.{type(papers).__name__}".removeprefix("builtins.")
    if type(papers).__name__ == "LazyFrame":
        return (
            f"papers is a {kind}, which has not read its papers yet; pass papers.collect(), or for more papers than "
            "fit in memory, pyarrow.dataset.dataset('papers.parquet')"
        )
    if isinstance(papers, str | list | tuple) and all(isinstance(one, str) for one in papers):
        example = "pandas.DataFrame({'title': ['…'], 'abstract': ['…']})"
    elif isinstance(papers, list | tuple | dict):
        example = "pandas.DataFrame(papers)"
    else:
        example = ""
    return f"papers should be {TAKEN}, got {kind}" + (f"; pass {example}" if example else "")
