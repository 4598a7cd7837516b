"""The rows of a night, one for each row of the input: its label, or why it has none."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.errors import PaperSchemaError, ShardError, StorageError
from specter_batch.papers.parquet import open_parquet
from specter_batch.storage.location import PARALLEL, in_parallel
from specter_jobs.inspect.night_folder import NightFolder, ShardRows
from specter_jobs.inspect.row_schema import DICTIONARY, FAILED, LABELLED, OURS, REJECTED, REUSED, ROW_SCHEMA, STATUSES
from specter_jobs.output.names import OutputFile
from specter_jobs.output.plan_file import listed_files
from specter_jobs.output.schema import LABEL_SCHEMA, REJECT_SCHEMA


class NightRows:
    """Reads the rows of a night, a shard at a time, so that the memory does not grow with the night.

    Args:
        night: The opened night.

    Attributes:
        schema: All columns that the rows of the night can have: `ROW_SCHEMA`, and then what else the label files hold.
        held: Names of the columns in the label files.
    """

    def __init__(self, night: NightFolder) -> None:
        self._night = night
        first = next((shard.entry for shard in night.shards if shard.entry), None)
        schema = LABEL_SCHEMA if first is None else _schema(night, first.labels)
        self.metadata = dict(schema.metadata or {})
        self.held = frozenset(schema.names)
        self._named = {f"input_{name}" if name in OURS else name: name for name in schema.names}
        more = [
            schema.field(name).with_name(shown) for shown, name in self._named.items() if shown not in ROW_SCHEMA.names
        ]
        self.schema = pa.schema([*ROW_SCHEMA, *more])

    def tables(
        self, columns: Sequence[str], *, wanted: Callable[[ShardRows], bool] | None = None
    ) -> Iterator[pa.Table]:
        """Yield a table for each shard, in the order of the input, and then the records that an ingest rejected.

        Args:
            columns: Names of the columns; each one is in `schema`.
            wanted: Function that returns whether the rows of a shard are read; None to read all shards.

        Raises:
            ShardError: A file of the night is missing or damaged.
        """
        schema = pa.schema([self.schema.field(name) for name in columns])
        shards = [shard for shard in self._night.shards if wanted is None or wanted(shard)]
        for first in range(0, len(shards), PARALLEL):  # several files of a store are fetched at once
            yield from in_parallel(lambda shard: self._shard(shard, schema), shards[first : first + PARALLEL])
        for file in listed_files(self._night.plan.dump):
            rejects = _read(self._night, file, REJECT_SCHEMA.names)
            rows = np.full(len(rejects), -1)
            yield self._table(schema, _Parts(rejects=rejects, labels_at=rows, rejects_at=np.arange(len(rejects))))

    def _shard(self, shard: ShardRows, schema: pa.Schema) -> pa.Table:
        at = np.full(shard.rows, -1)
        parts = _Parts(labels_at=at, rejects_at=at.copy(), file=shard.file, start=shard.start, error=shard.error)
        if shard.entry is None:
            return self._table(schema, parts)
        names = [self._named[name] for name in schema.names if name in self._named]
        names += [name for name in ("row", "reused") if name in self.held and name not in names]
        parts.labels = _read(self._night, shard.entry.labels, names)
        rejected = np.zeros(0, np.int64)
        if shard.entry.rejects:
            parts.rejects = _read(self._night, shard.entry.rejects, REJECT_SCHEMA.names)
            rejected = parts.rejects["row"].to_numpy() - shard.start
        if "row" in self.held:
            labelled = parts.labels["row"].to_numpy() - shard.start
        else:  # a night of an older version: all rows that were not rejected, in order
            labelled = np.setdiff1d(np.arange(shard.rows), rejected)
        place = np.concatenate([labelled, rejected])
        complete = len(place) == shard.rows and np.array_equal(np.sort(place), np.arange(shard.rows))
        if not complete or len(labelled) != len(parts.labels):
            raise ShardError(
                f"{self._night.out}: shard {shard.name} has {shard.rows} rows, and its files hold {len(parts.labels)} "
                f"labels and {len(rejected)} rejects that are not exactly these rows; `specter-batch verify "
                f"{self._night.out}` lists what differs"
            )
        parts.labels_at[labelled] = np.arange(len(labelled))
        parts.rejects_at[rejected] = np.arange(len(rejected))
        return self._table(schema, parts)

    def _table(self, schema: pa.Schema, parts: "_Parts") -> pa.Table:
        columns = [parts.column(field, self._named.get(field.name)) for field in schema]
        return pa.table(columns, schema=schema)


class _Parts:
    """The files of one shard, and for each of its rows the position in them; -1 where the row is not in a file."""

    def __init__(
        self,
        *,
        labels_at: npt.NDArray[np.int64],
        rejects_at: npt.NDArray[np.int64],
        rejects: pa.Table | None = None,
        file: str = "",
        start: int = 0,
        error: str | None = None,
    ) -> None:
        self.labels_at, self.rejects_at = labels_at, rejects_at
        self.labels: pa.Table | None = None
        self.rejects = rejects
        self._file, self._start, self._error = file, start, error

    def column(self, field: pa.Field, held: str | None) -> pa.Array | pa.ChunkedArray:
        """Return a column for all rows.

        Args:
            field: The column.
            held: Its name in the label file; None if it is not from there.
        """
        rows = len(self.labels_at)
        from_a_dump = self.labels is None and self.rejects is not None
        match field.name:
            case "file" if from_a_dump:
                return self._rejects("file").cast(DICTIONARY)
            case "file":
                return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([self._file]))
            case "row" if from_a_dump:
                return self._rejects("row")
            case "row":
                return pa.array(np.arange(self._start, self._start + rows))
            case "status":
                return pa.DictionaryArray.from_arrays(pa.array(self._statuses(), pa.int32()), pa.array(STATUSES))
            case "paper_id":
                return pc.coalesce(self._labels(field, held), self._rejects("paper_id"))
            case "reject_reason":
                return self._rejects("reason")
            case "reject_detail":
                detail = self._rejects("detail")
                return pa.array([self._error] * rows, pa.string()) if self._error is not None else detail
        return self._labels(field, held)

    def _statuses(self) -> npt.NDArray[np.int32]:
        statuses = np.where(self.rejects_at >= 0, STATUSES.index(REJECTED), STATUSES.index(FAILED)).astype(np.int32)
        labelled = np.flatnonzero(self.labels_at >= 0)
        if len(labelled) and self.labels is not None:
            reused = self.labels["reused"].to_numpy()[self.labels_at[labelled]]
            statuses[labelled] = np.where(reused, STATUSES.index(REUSED), STATUSES.index(LABELLED))
        return statuses

    def _labels(self, field: pa.Field, held: str | None) -> pa.Array | pa.ChunkedArray:
        if self.labels is None or held not in self.labels.column_names:
            return pa.nulls(len(self.labels_at), field.type)
        return _taken(self.labels[held], self.labels_at)

    def _rejects(self, name: str) -> pa.Array | pa.ChunkedArray:
        if self.rejects is None:
            return pa.nulls(len(self.rejects_at), REJECT_SCHEMA.field(name).type)
        return _taken(self.rejects[name], self.rejects_at)


def _taken(column: pa.ChunkedArray, at: npt.NDArray[np.int64]) -> pa.ChunkedArray:
    """Return the values at these positions, and null for -1."""
    if len(at) == len(column) and np.array_equal(at, np.arange(len(at))):
        return column
    return column.take(pa.array(at, mask=at < 0))


def _schema(night: NightFolder, file: OutputFile) -> pa.Schema:
    try:
        with open_parquet(night.out / file.name) as parquet:
            return parquet.schema_arrow
    except PaperSchemaError as error:
        raise _damaged(night, file, error) from error


def _read(night: NightFolder, file: OutputFile, columns: Sequence[str]) -> pa.Table:
    try:
        with open_parquet(night.out / file.name) as parquet:
            held = [name for name in dict.fromkeys(columns) if name in parquet.schema_arrow.names]
            table = parquet.read(columns=held)
    except (PaperSchemaError, pa.ArrowException, OSError) as error:
        raise _damaged(night, file, error) from error
    if len(table) != file.rows:
        raise _damaged(night, file, f"it holds {len(table)} rows, {file.rows} by the ledger")
    return table


def _damaged(night: NightFolder, file: OutputFile, problem: object) -> ShardError | StorageError:
    cause = problem.__cause__ if isinstance(problem, PaperSchemaError) else problem
    if isinstance(cause, StorageError):
        return cause
    return ShardError(
        f"{night.out / file.name}: is missing or damaged ({problem}); running the night again labels its papers again, "
        f"and `specter-batch verify {night.out}` lists all such files"
    )
