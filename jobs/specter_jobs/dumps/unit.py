"""The unit of an ingest (an input file, or all files of a join) and its outcome."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from specter_jobs.dumps.account import IngestEntry


@dataclass(frozen=True, kw_only=True)
class IngestUnit:
    """An input file, or all files of a join, which are ingested together.

    Attributes:
        name: Path of the file relative to the input's root. For a join, the format's name.
        root: Folder that file names are relative to.
        paths: Paths of the file, or of the files of a join.
        partitions: Values of the columns that are in the names of the file's folders, by column name.
    """

    name: str
    root: Path
    paths: tuple[Path, ...]
    partitions: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def output_name(self) -> str:
        """The common name of the unit's output files."""
        return output_name(self.name)


def output_name(unit: str) -> str:
    """Return the name of a unit's output files: readable, safe as a file name, and unique by a hash of the path."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(unit).name.partition(".")[0]).lstrip("._")[:60]
    digest = hashlib.blake2b(unit.encode(), digest_size=6).hexdigest()
    return f"{readable or 'papers'}-{digest}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a unit.

    Attributes:
        unit: Unit that was read.
        entry: New ledger entry of the unit; None if the unit is unchanged or failed.
        error: Error message, or None if the unit did not fail.
        wrong_format: True if the unit failed because it is not of the format.
    """

    unit: IngestUnit
    entry: IngestEntry | None = None
    error: str | None = None
    wrong_format: bool = False
