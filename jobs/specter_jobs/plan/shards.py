"""Shards: slices of rows of one input file, planned the same way every time."""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from specter_batch.errors import PaperSchemaError, ShardError, StorageError
from specter_batch.inputs.inventory import InputInventory, InputPath
from specter_batch.papers.columns import PAPER_SCHEMA, PaperColumns
from specter_batch.papers.parquet import WRITTEN_BY_EMBED, PaperBatch, is_from_embed, open_parquet, read_papers
from specter_batch.storage.location import Location, in_parallel
from specter_batch.storage.stored_names import storable

# Rows decoded at once while a shard is gathered.
READ_ROWS = 2048


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One readable parquet file of the night.

    Attributes:
        path: Where it is.
        name: Its path below the input's root, with forward slashes, as stored (`specter_batch.storage.stored_names`).
        columns: Canonical column name to the file's own, or to a partition.
        partitions: Columns that the names of its folders or the log of its table give it.
        group_starts: First row of each row group, and the number of rows at the end.
        label_problem: Why the label column is not read; None if it is, or if there is none.
    """

    path: Location
    name: str
    columns: Mapping[str, str]
    group_starts: tuple[int, ...]
    partitions: Mapping[str, str | None] = field(default_factory=dict)
    label_problem: str | None = None

    @property
    def rows(self) -> int:
        """Rows by the file's footer."""
        return self.group_starts[-1]

    def group_of(self, row: int) -> int:
        """Return the row group that holds a row."""
        return bisect_right(self.group_starts, row) - 1


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Rows `start` to `start + rows` of one input file."""

    file: InputFile
    start: int
    rows: int

    @cached_property
    def name(self) -> str:
        """The name of its output files: readable, safe as a file name, and unique by the hash of the path."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(self.file.name).stem).lstrip("._")[:60]
        digest = hashlib.blake2b(self.file.name.encode(), digest_size=6).hexdigest()
        return f"{readable or 'papers'}-{digest}-{self.start:010d}-{self.rows:06d}"


@dataclass(frozen=True, kw_only=True)
class FailedInput:
    """Something in the input that may hold papers and cannot be read at all."""

    name: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The night's input, in a fixed order.

    Attributes:
        ignored: Name of what is not read -> why.
    """

    files: tuple[InputFile, ...]
    failed: tuple[FailedInput, ...]
    shards: tuple[Shard, ...]
    ignored: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows by the footers of the readable files."""
        return sum(file.rows for file in self.files)

    @property
    def label_problems(self) -> dict[str, str]:
        """Name of each file whose label column cannot be read -> what is wrong with the column."""
        return {file.name: file.label_problem for file in self.files if file.label_problem is not None}


def plan_shards(inventory: InputInventory, *, columns: PaperColumns, shard_rows: int) -> Plan:
    """Read the footers and cut every file into shards.

    A file that cannot be read as papers is set aside with its error; the others go on. A night without any row gets one
    shard of no rows, so that its labels are a file with all columns and not an empty folder.

    Raises:
        PaperSchemaError: No file can be read; the message is the first one's.
    """

    def look_at(file: InputPath) -> InputFile | FailedInput | None:
        where = storable(str(file.path))
        try:
            with open_parquet(file.path) as parquet:
                if is_from_embed(parquet.schema_arrow):
                    return None
                resolved, label_problem = columns.resolve_without_need_of_labels(
                    parquet.schema_arrow, where=where, partitions=file.partitions
                )
                sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
        except PaperSchemaError as error:
            return FailedInput(name=file.name, error=storable(str(error)))
        starts = tuple(int(start) for start in np.cumsum([0, *sizes]))
        used = {name: value for name, value in file.partitions.items() if name in resolved.values()}
        return InputFile(
            path=file.path,
            name=file.name,
            columns=resolved,
            group_starts=starts,
            partitions=used,
            label_problem=label_problem,
        )

    found = list(in_parallel(look_at, inventory.files))
    files = [file for file in found if isinstance(file, InputFile)]
    failed = [file for file in found if isinstance(file, FailedInput)]
    failed += [FailedInput(name=name, error=error) for name, error in inventory.failed.items()]
    embeddings = [file.name for file, seen in zip(inventory.files, found, strict=True) if seen is None]
    if not files and not failed:
        raise PaperSchemaError(f"{inventory.root}: holds only {WRITTEN_BY_EMBED}; give a folder or file of papers")
    if not files:
        raise PaperSchemaError(failed[0].error)
    shards = tuple(
        Shard(file=file, start=start, rows=min(shard_rows, file.rows - start))
        for file in files
        for start in range(0, file.rows, shard_rows)
    )
    shards = shards or (Shard(file=files[0], start=0, rows=0),)
    return Plan(
        files=tuple(files),
        failed=tuple(failed),
        shards=shards,
        ignored={**inventory.ignored, **dict.fromkeys(embeddings, WRITTEN_BY_EMBED)},
    )


class ShardReader:
    """Reads shards; the next shard of the same file goes on where the last one ended.

    A parquet row group can only be decoded from its beginning, so a row group larger than a shard is streamed once
    over its shards instead of being decoded again for each.
    """

    def __init__(self) -> None:
        self._file: InputFile | None = None
        self._batches: Iterator[PaperBatch] = iter(())
        self._rest: PaperBatch | None = None
        self._position = 0

    def read(self, shard: Shard) -> PaperBatch:
        """Return the shard's papers.

        Raises:
            ShardError: The file is gone, changed its size, or cannot be decoded here.
        """
        try:
            return self._read(shard)
        except (PaperSchemaError, StorageError) as error:
            self._file = None
            rows = f"rows {shard.start} to {shard.start + shard.rows}"
            raise ShardError(f"{shard.file.path}: {rows} cannot be read: {error}; then rerun") from error

    def _read(self, shard: Shard) -> PaperBatch:
        group = shard.file.group_of(shard.start)
        # By value: a shard that came from another process brings its own copy of the file.
        if self._file != shard.file or not shard.file.group_starts[group] <= self._position <= shard.start:
            parquet = open_parquet(shard.file.path)
            if parquet.metadata.num_rows != shard.file.rows:
                raise PaperSchemaError("the file changed while the job ran; leave it alone")
            groups = list(range(group, parquet.num_row_groups))
            self._batches = read_papers(
                parquet,
                shard.file.columns,
                where=shard.file.name,
                batch_rows=READ_ROWS,
                row_groups=groups,
                partitions=shard.file.partitions,
            )
            self._file, self._rest, self._position = shard.file, None, shard.file.group_starts[group]
        self._take(shard.start - self._position)
        papers = self._take(shard.rows)
        if self._position == shard.file.rows:  # the decoder would hold the last row group's text once more
            self._file, self._batches, self._rest = None, iter(()), None
        return papers

    def _take(self, rows: int) -> PaperBatch:
        tables: list[pa.Table] = []
        invalid: list[np.ndarray[tuple[int], np.dtype[np.bool_]]] = []
        self._position += rows
        while rows:
            batch = self._rest or next(self._batches, None)
            self._rest = None
            if batch is None:
                raise PaperSchemaError("the file ends before its footer says; write the file again")
            if len(batch) > rows:
                self._rest = PaperBatch(table=batch.table.slice(rows), invalid_unicode=batch.invalid_unicode[rows:])
                batch = PaperBatch(table=batch.table.slice(0, rows), invalid_unicode=batch.invalid_unicode[:rows])
            tables.append(batch.table)
            invalid.append(batch.invalid_unicode)
            rows -= len(batch)
        if not tables:
            return PaperBatch(table=PAPER_SCHEMA.empty_table(), invalid_unicode=np.zeros(0, dtype=np.bool_))
        return PaperBatch(table=pa.concat_tables(tables), invalid_unicode=np.concatenate(invalid))
