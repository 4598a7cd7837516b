"""The command that lists the nights of a folder."""

from typing import Annotated

import pyarrow as pa
from pydantic import Field

from specter_batch.options.command import command
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import PathOrUrl, names_in
from specter_batch.terminal import show, show_json
from specter_jobs.cli.row_output import RowOutput, show_rows_as_csv, write_rows
from specter_jobs.cli.tables import table_lines
from specter_jobs.inspect.nights import NightLine, list_nights

SHOWN_FINGERPRINT = 12
_NUMBERS = ("rows", "labelled", "reused", "rejected", "failed")
_KINDS = {**dict.fromkeys(_NUMBERS, pa.int64()), "seconds": pa.float64(), "failed_gates": pa.list_(pa.string())}
SCHEMA = pa.schema([(name, _KINDS.get(name, pa.string())) for name in NightLine.model_fields])


class NightsFolder(RowOutput):
    """The folder of nights."""

    folder: Annotated[PathOrUrl, Option(argument="FOLDER")] = Field(
        description="Folder or URL that the OUT folders of nights are in."
    )


@command("specter-batch nights nights", "specter-batch nights nights --csv")
def nights(folder: NightsFolder) -> None:
    """List the nights in a folder: date, rows, labels, failed gates, seconds and bundle."""
    folder.check(folder.folder / name for name in names_in(folder.folder))
    lines = list_nights(folder.folder)
    table = pa.Table.from_pylist([line.model_dump() for line in lines], schema=SCHEMA)
    if folder.as_json:
        show_json([line.model_dump(mode="json") for line in lines])
    elif folder.parquet is not None:
        write_rows([table], SCHEMA, folder.parquet)
    elif folder.as_csv:
        at = SCHEMA.get_field_index("failed_gates")
        gates = pa.array([" ".join(line.failed_gates) for line in lines], pa.string())
        table = table.set_column(at, "failed_gates", gates)
        show_rows_as_csv([table], table.schema)
    else:
        show(*_lines(lines))


def _lines(lines: list[NightLine]) -> list[str]:
    columns = ["night", "date", "rows", "labelled", "reused", "seconds", "bundle", "state"]
    rows = [
        [
            line.name,
            line.date or "-",
            _number(line.rows),
            _number(line.labelled),
            _number(line.reused),
            "-" if line.seconds is None else f"{line.seconds:,.0f}",
            (line.bundle or "-")[:SHOWN_FINGERPRINT],
            line.state,
        ]
        for line in lines
    ]
    problems = [f"{line.name}: {line.problem}" for line in lines if line.problem]
    return [*table_lines(columns, rows, numbers=("rows", "labelled", "reused", "seconds")), *problems]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
