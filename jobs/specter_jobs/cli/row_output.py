"""How the commands that find rows give them: as text, CSV, JSON or parquet."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from specter_batch.display import original_name
from specter_batch.errors import ConfigError, SpecterBatchError, UsageError
from specter_batch.options import JsonOutput
from specter_batch.settings.declaration import Option
from specter_batch.storage.files import written_whole
from specter_batch.storage.location import Location, PathOrUrl, located, parted_at_wildcard, real_path
from specter_batch.storage.output_claim import check_outside_outputs
from specter_batch.terminal import show, show_csv
from specter_jobs.output.folder import output_folder
from specter_jobs.output.plan_file import read_plan


class RowOutput(JsonOutput):
    """The format in which the result is given, and where the papers are."""

    as_csv: Annotated[bool, Option(name="--csv", negative=False)] = Field(
        default=False,
        description="Print the rows as CSV. Texts are not changed: a spreadsheet may run a cell that begins with =.",
    )
    parquet: Annotated[PathOrUrl | None, Option(metavar="FILE", default="none is written")] = Field(
        default=None, description="Write the rows to this parquet file. A file of this name is replaced."
    )

    def check(self, nights: Iterable[Location], *, papers: Location | None = None) -> None:
        """Check that at most one format is given, and that no file of a night or of its papers would be replaced.

        Args:
            nights: The folders of the nights that the command reads.
            papers: Present place of their papers, if it is given.

        Raises:
            UsageError: There are several formats.
            ConfigError: The parquet file is inside an output folder, or it is a file of papers.
        """
        asked = {"--json": self.as_json, "--csv": self.as_csv, "--parquet": self.parquet is not None}
        names = [name for name, is_asked in asked.items() if is_asked]
        if len(names) > 1:
            raise UsageError(f"{names[0]} and {names[1]} cannot be given together; run the command once for each")
        if self.parquet is None:
            return
        check_outside_outputs(self.parquet, "--parquet")
        if not self.parquet.is_file():
            return
        target = real_path(self.parquet)
        for night in nights:
            if any(real_path(file) == target for file in _inputs(night, papers)):
                raise ConfigError(
                    f"--parquet {self.parquet}: is a file of papers that the night {night} read; give another file, "
                    "nothing was changed"
                )


class PapersPlace(RowOutput):
    """Where the papers of a night are."""

    papers: Annotated[PathOrUrl | None, Option(default="where they were when the night ran")] = Field(
        default=None, description="Folder, file or URL of the papers that the night labelled, for titles and abstracts."
    )


def _inputs(night: Location, papers: Location | None) -> Iterator[Location]:
    """Yield the files that a night read, where they were and where they are now. A folder that is no night has none."""
    try:
        plan = read_plan(output_folder(night))
    except (SpecterBatchError, OSError):
        return
    yield from map(plan.input_path, (*plan.files, *plan.unreadable))
    if plan.night is not None:
        yield from _below(located(original_name(plan.night.dump)), plan.dump.labelled_files or () if plan.dump else ())
    if papers is not None:
        yield from _below(papers, plan.files)


def _below(place: Location, names: Iterable[str]) -> Iterator[Location]:
    """Yield a file, or the named files below a folder or glob."""
    root, _ = parted_at_wildcard(place)
    yield root
    yield from (root / original_name(name) for name in names)


def show_rows_as_csv(tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Print rows as CSV, a table at a time."""
    show_csv([schema.names])
    for table in tables:
        show_csv([tuple(row.values()) for row in plain_rows(table)])


def write_rows(tables: Iterable[pa.Table], schema: pa.Schema, path: Location) -> None:
    """Write rows to a parquet file, a table at a time, and print how many there are."""
    rows = 0
    with written_whole(path) as partial, pq.ParquetWriter(str(partial), schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            rows += len(table)
    show(f"{rows:,} rows written to {path}")


def plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows as dictionaries whose values JSON and CSV can hold."""
    for row in table.to_pylist():
        yield {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float, bool, list)) else str(value)
