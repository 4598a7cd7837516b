"""All nights in a folder, with a line for each: what it labelled, whether its gates passed, and how long it took."""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from specter_batch.errors import ConfigError, SpecterBatchError
from specter_batch.file_problems import read_json_model
from specter_batch.storage.location import Location, in_parallel, names_in
from specter_batch.storage.output_claim import output_command
from specter_jobs.inspect.status import NightStatus, night_status
from specter_jobs.output.names import CLASSIFY, INGEST, MANIFEST_FILE, REPORT_FILE, SUCCESS_FILE
from specter_jobs.output.report_model.manifest import NightManifest
from specter_jobs.output.report_model.report import NightReport, read_report

State = Literal["done", "gates failed", "shards failed", "running", "stopped", "unreadable"]


class NightLine(BaseModel):
    """One night of a folder.

    Attributes:
        name: Name of its folder.
        date: Date of the night; None if the folder does not say.
        state: `done` with `_SUCCESS`, what failed, `running`, `stopped` before `_SUCCESS`, or `unreadable`.
        rows: Rows of the input; None if unknown, as the fields below.
        labelled: Rows that the model labelled.
        reused: Rows whose label was copied.
        rejected: Rows that were rejected.
        failed: Rows in shards that failed.
        failed_gates: Gates that failed, in words.
        seconds: Time of the last run, from start to end.
        bundle: Fingerprint of the bundle.
        bundle_place: Folder or URL of the bundle.
        problem: Why the night cannot be read, or was not finished; None if it was.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    date: str | None = None
    state: State
    rows: int | None = None
    labelled: int | None = None
    reused: int | None = None
    rejected: int | None = None
    failed: int | None = None
    failed_gates: tuple[str, ...] = ()
    seconds: float | None = None
    bundle: str | None = None
    bundle_place: str | None = None
    problem: str | None = None


def list_nights(folder: Location) -> list[NightLine]:
    """Return a line for each night directly in a folder, by date and name. Other folders are left out.

    Raises:
        ConfigError: There is no such folder, it is a file or a night itself, or it holds no night.
    """
    if folder.is_file():
        raise ConfigError(f"{folder}: is a file; give the folder that the OUT folders of `classify` are in")
    names = names_in(folder)
    made_by = output_command(folder, names=names)
    if made_by == CLASSIFY:
        raise ConfigError(
            f"{folder}: is a night itself; give the folder that it is in, or run `specter-batch status {folder}`"
        )
    lines = [line for line in in_parallel(lambda name: _line(folder, name), sorted(names)) if line is not None]
    if not lines:
        why = "there is no such folder, or it is empty" if not names else "holds no nights"
        hint = f" (it is the output of `specter-batch {made_by}`)" if made_by == INGEST else ""
        raise ConfigError(f"{folder}: {why}{hint}; give the folder that the OUT folders of `classify` are in")
    return sorted(lines, key=lambda line: (line.date or line.name, line.name))


def _line(folder: Location, name: str) -> NightLine | None:
    place = folder / name
    try:
        names = names_in(place)
        if output_command(place, names=names) != CLASSIFY:
            return None
        return _night(place, name, names)
    except (SpecterBatchError, OSError) as error:
        return NightLine(name=name, state="unreadable", problem=str(error))


def _night(place: Location, name: str, names: set[str]) -> NightLine:
    status = night_status(place)
    if status.state != "finished" or status.refused or REPORT_FILE not in names:
        running = status.holder is not None
        return NightLine(
            name=name,
            date=status.started[:10],
            state="running" if running else "stopped",
            rows=status.rows.rows_in,
            problem=status.refused or f"{status.rows.done:,} of {status.rows.rows_in:,} rows are done",
        )
    report = read_report(place)
    manifest = _manifest(place) if MANIFEST_FILE in names else None
    date = str(manifest.config.get("date") or "") if manifest else ""
    return NightLine(
        name=name,
        date=date or status.started[:10],
        state=_state(report, status),
        rows=report.rows.rows_in,
        labelled=report.rows.labelled,
        reused=report.rows.reused,
        rejected=report.rows.rejected,
        failed=report.rows.failed,
        failed_gates=tuple(gate.name for gate in report.failed_gates),
        seconds=manifest.seconds if manifest else None,
        bundle=report.bundle,
        bundle_place=manifest.bundle.path if manifest else None,
        problem="; ".join(_problems(report, status)) or None,
    )


def _state(report: NightReport, status: NightStatus) -> State:
    if report.failed_shards:
        return "shards failed"
    if report.failed_gates:
        return "gates failed"
    return "done" if status.success else "stopped" if status.holder is None else "running"


def _problems(report: NightReport, status: NightStatus) -> Iterator[str]:
    if report.failed_shards:
        yield f"{len(report.failed_shards):,} shards or files failed (first: {next(iter(report.failed_shards))})"
    yield from map(str, report.failed_gates)
    if _state(report, status) == "stopped":
        yield f"there is no {SUCCESS_FILE}, though nothing failed; run the same command again"


def _manifest(place: Location) -> NightManifest:
    return read_json_model(
        place / MANIFEST_FILE,
        NightManifest,
        what="not the manifest of a night",
        advice="; run the night again",
        error=ConfigError,
    )
