"""The input of a night: its files and the shards that they are cut into."""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.papers.parquet import NO_COLUMNS
from specter_batch.storage.location import Location

# One boolean for each row, or for each usable row, of a shard.
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One readable parquet file of the night.

    Attributes:
        path: Path or URL of the file.
        name: Path below the root of the input, with forward slashes, as stored (`specter_batch.display`).
        columns: Canonical column name -> name in the file, or name of a partition.
        partitions: Columns whose values come from folder names or from the log of a table.
        group_starts: First row of each row group, followed by the number of rows.
        kept: Columns that the label files keep, with the types that they have there.
        label_problem: Reason why the label column is not read; None if it is read or does not exist.
    """

    path: Location
    name: str
    columns: Mapping[str, str]
    group_starts: tuple[int, ...]
    partitions: Mapping[str, str | None] = field(default_factory=dict)
    kept: pa.Schema = NO_COLUMNS
    label_problem: str | None = None

    @property
    def rows(self) -> int:
        """Number of rows in the file's footer."""
        return self.group_starts[-1]

    def group_of(self, row: int) -> int:
        """Return the number of the row group that a row is in."""
        return bisect_right(self.group_starts, row) - 1


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Rows `start` to `start + rows` of one input file."""

    file: InputFile
    start: int
    rows: int

    @cached_property
    def name(self) -> str:
        """Name of its output files: readable, safe as a file name, and unique because it has a hash of the path."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(self.file.name).stem).lstrip("._")[:60]
        digest = hashlib.blake2b(self.file.name.encode(), digest_size=6).hexdigest()
        return f"{readable or 'papers'}-{digest}-{self.start:010d}-{self.rows:06d}"


@dataclass(frozen=True, kw_only=True)
class FailedInput:
    """An entry of the input that may hold papers and cannot be read."""

    name: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The night's input, in a fixed order.

    Attributes:
        ignored: Entries that are not read, by name -> reason.
        kept: Columns of the input that the label files keep, with their types.
    """

    files: tuple[InputFile, ...]
    failed: tuple[FailedInput, ...]
    shards: tuple[Shard, ...]
    ignored: Mapping[str, str] = field(default_factory=dict)
    kept: pa.Schema = NO_COLUMNS

    @property
    def partitions(self) -> tuple[str, ...]:
        """Columns that the names of folders give to any file, and that no file keeps itself, in alphabetical order."""
        return tuple(sorted({name for file in self.files for name in file.partitions} - set(self.kept.names)))

    @property
    def rows(self) -> int:
        """Number of rows in the footers of the readable files."""
        return sum(file.rows for file in self.files)

    @property
    def label_problems(self) -> dict[str, str]:
        """Files whose label column cannot be read, by name -> problem of the column."""
        return {file.name: file.label_problem for file in self.files if file.label_problem is not None}
