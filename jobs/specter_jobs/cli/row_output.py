"""How the commands that find rows give them: as text, CSV, JSON or parquet."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from specter_batch.errors import UsageError
from specter_batch.options import JsonOutput
from specter_batch.settings.declaration import Option
from specter_batch.storage.files import written_whole
from specter_batch.storage.location import Location, PathOrUrl
from specter_batch.terminal import show, show_csv


class RowOutput(JsonOutput):
    """The format in which the result is given, and where the papers are."""

    as_csv: Annotated[bool, Option(name="--csv", negative=False)] = Field(
        default=False,
        description="Print the rows as CSV. Texts are not changed: a spreadsheet may run a cell that begins with =.",
    )
    parquet: Annotated[PathOrUrl | None, Option(metavar="FILE", default="none is written")] = Field(
        default=None, description="Write the rows to this parquet file. A file of this name is replaced."
    )

    def check_format(self) -> None:
        """Check that at most one format is given.

        Raises:
            UsageError: There are several.
        """
        asked = {"--json": self.as_json, "--csv": self.as_csv, "--parquet": self.parquet is not None}
        names = [name for name, is_asked in asked.items() if is_asked]
        if len(names) > 1:
            raise UsageError(f"{names[0]} and {names[1]} cannot be given together; run the command once for each")


class PapersPlace(RowOutput):
    """Where the papers of a night are."""

    papers: Annotated[PathOrUrl | None, Option(default="where they were when the night ran")] = Field(
        default=None, description="Folder, file or URL of the papers that the night labelled, for titles and abstracts."
    )


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
