"""The input of a night: its files, and the shards that they are cut into."""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from specter_batch.storage.location import Location

# One truth value for each row, or for each usable row, of a shard.
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One readable parquet file of the night.

    Attributes:
        path: Where it is.
        name: Its path below the input's root, with forward slashes, as stored (`specter_batch.display`).
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
