"""A night as one table: labels, rejects and papers joined row by row."""

import inspect
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa

from specter_batch.display import terminal_text
from specter_batch.errors import UsageError
from specter_batch.storage.location import Location
from specter_jobs.inspect.frames import Kind, check_kind, frame
from specter_jobs.inspect.night_folder import open_night, place_given
from specter_jobs.inspect.night_papers import NightPapers
from specter_jobs.inspect.night_rows import NightRows
from specter_jobs.inspect.row_schema import in_order


class NightWarning(UserWarning):
    """A night was read, but some of its papers are not there, or not as they were when they were labelled."""


def read_night(
    night: str | Location,
    papers: str | Location | Literal[False] | None = None,
    *,
    as_: Kind = "pandas",
    columns: Sequence[str] | str | None = None,
    paper_columns: Sequence[str] | str = (),
) -> Any:
    """Read a night as one table, with a row for each row of its input, in the order of the input.

    Labels, rejects and papers are joined by file and row, not by id. Ids can be missing or repeated, and a join by id
    would then drop or repeat rows.

    The column `status` says what became of a row: `labelled`, `reused` (the label was copied), `rejected` (see
    `reject_reason` and `reject_detail`) or `failed` (its shard failed; `reject_detail` has the error). The numbers of
    rows by status are those in `report.json`.

    A row gets its title and abstract only if the papers still hold what was labelled there, by the hash of the text
    (rejected rows: by the id). Otherwise both are null, and a `NightWarning` counts such rows.

    Args:
        night: Output folder of a night, or its URL.
        papers: Present place of the papers: a folder, a glob or a file, as path or URL. The default is the place from
            which the night read them. False reads no papers, which is faster.
        as_: Kind of the result: a DataFrame of `pandas` or `polars`, a pyarrow Table (`arrow`), or a pyarrow
            RecordBatchReader (`batches`). A reader reads one shard at a time and needs little memory.
        columns: Columns to return, in this order, or one name. The default is all columns except `logits` and
            `embedding`.
        paper_columns: More columns of the papers to return, such as `year`, or one name. A column named like one of
            the night's is returned as `input_NAME`. If the night kept the column, its values come first, and the
            papers fill the gaps.

    Returns:
        The table, of the kind that `as_` names.

    Raises:
        ConfigError: The folder holds no night, or the papers are not where `papers` says.
        BusyError: A job is still writing the night.
        ShardError: A file of the night is missing or damaged.
        UsageError: There is no such column, or the package for `as_` is not installed.
        TypeError: `night` or `papers` is neither a path nor a URL, or a column is named by something else than text.
    """
    check_kind(as_)
    kept, chosen = _names(paper_columns, "paper_columns"), None if columns is None else _names(columns, "columns")
    opened = open_night(place_given(night, "night"))
    rows = NightRows(opened)
    joined = None
    if papers is not False:
        place = None if papers is None else place_given(papers, "papers")
        joined = NightPapers(opened, place, kept=kept, metadata=rows.metadata)
    added = joined.columns if joined else ()
    held = [*rows.schema, *(field for field in added if field.name not in rows.schema.names)]
    schema = pa.schema(_chosen(held, chosen))
    return frame(_tables(rows, joined, schema), schema, as_)


def _names(given: Sequence[str] | str, argument: str) -> Sequence[str]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise TypeError(f'{argument}: expected names of columns, got {given!r}; for example {argument}=["label"]')
    return list(dict.fromkeys(names))


def _chosen(held: Sequence[pa.Field], columns: Sequence[str] | None) -> list[pa.Field]:
    if columns is None:
        return in_order(held)
    fields = {field.name: field for field in held}
    for name in columns:
        if name not in fields:
            raise UsageError(f"columns: the night has no column {name}; it has {', '.join(fields)}")
    return [fields[name] for name in columns]


def _tables(rows: NightRows, papers: NightPapers | None, schema: pa.Schema) -> Iterator[pa.Table]:
    compared = NightPapers.NEEDS if papers else ()
    needed = [name for name in rows.schema.names if name in schema.names or name in compared]
    for table in rows.tables(needed):
        joined = papers.with_papers(table) if papers else table
        yield joined.select(schema.names).cast(schema)
    for note in papers.notes() if papers else ():
        _warn(note)


def _warn(note: str) -> None:
    """Warn at the line that called this package."""
    level, frame_there = 1, inspect.currentframe()
    while frame_there is not None and frame_there.f_globals.get("__name__", "").startswith("specter_jobs."):
        level, frame_there = level + 1, frame_there.f_back
    warnings.warn(terminal_text(note), NightWarning, stacklevel=level)
