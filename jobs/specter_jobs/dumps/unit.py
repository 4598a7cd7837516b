"""What an ingest reads in one piece: an input file, or the files of a join."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from specter_jobs.dumps.account import IngestEntry


@dataclass(frozen=True, kw_only=True)
class IngestUnit:
    """What is ingested in one piece: an input file, or all files of a join.

    Attributes:
        name: The stored name of the file, its path below the input's root; of a join the format's name.
        root: The folder that files are named relative to.
        paths: The file, or the files.
        partitions: Columns that the names of the file's folders give.
    """

    name: str
    root: Path
    paths: tuple[Path, ...]
    partitions: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def output_name(self) -> str:
        """The name of its output files."""
        return output_name(self.name)


def output_name(unit: str) -> str:
    """Return the name of a unit's output files: readable, safe as a file name, and unique by the hash of the path."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(unit).name.partition(".")[0]).lstrip("._")[:60]
    digest = hashlib.blake2b(unit.encode(), digest_size=6).hexdigest()
    return f"{readable or 'papers'}-{digest}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a unit ended.

    Attributes:
        unit: Which.
        entry: Its new line for the ledger; None where it is unchanged or failed.
        error: Why it failed.
        wrong_format: It failed because it is no file of the format.
    """

    unit: IngestUnit
    entry: IngestEntry | None = None
    error: str | None = None
    wrong_format: bool = False
