"""A night that is opened for reading: its plan, its finished shards, and why the other shards have no labels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from specter_batch.errors import BusyError, ConfigError
from specter_batch.storage.location import Location, located
from specter_batch.storage.output_claim import output_command
from specter_jobs.output.folder import OutputFolder, output_folder
from specter_jobs.output.ledger import read_entries
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import CLASSIFY, INGEST, MANIFEST_FILE, PLAN_FILE, PROGRESS_FILE, SUCCESS_FILE
from specter_jobs.output.plan_file import PlanFile, read_plan
from specter_jobs.output.progress_file import Progress
from specter_jobs.output.report_model.manifest import NightManifest
from specter_jobs.output.report_model.report import NightReport, read_report

NOT_LABELLED = "not labelled yet; run the same command again to resume"


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """The rows of one shard.

    Attributes:
        name: Name of the shard.
        file: Stored name of its input file.
        start: First row of the shard in the input file.
        rows: Number of rows.
        entry: Entry in the ledger; None if the shard has no labels.
        error: Why the shard has no labels.
    """

    name: str
    file: str
    start: int
    rows: int
    entry: LedgerEntry | None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class NightFolder:
    """A night that no job is writing.

    Attributes:
        out: Its output folder.
        plan: Its plan.
        shards: Its shards in the order of the plan: the input files in order, and the rows of each file in order.
        report: Its report; None if it did not come to its end.
        manifest: What ran; None if it did not come to its end.
    """

    out: OutputFolder
    plan: PlanFile
    shards: tuple[ShardRows, ...]
    report: NightReport | None
    manifest: NightManifest | None

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the bundle; None if the folder does not say."""
        if self.plan.night is not None:
            return self.plan.night.fingerprint
        return None if self.report is None else self.report.bundle

    @property
    def model(self) -> str | None:
        """Hash of bundle, device and graph; None if no shard is finished."""
        return next((shard.entry.model for shard in self.shards if shard.entry), None)

    @property
    def rows(self) -> int:
        """Number of rows in the input, with the records that an ingest rejected."""
        return self.plan.rows + (self.plan.dump.rejected if self.plan.dump else 0)

    @property
    def reject_reasons(self) -> dict[str, int]:
        """Number of rejected rows by reason."""
        reasons = dict(self.plan.dump.rejects_by_reason) if self.plan.dump else {}
        for shard in self.shards:
            for reason, rows in shard.entry.rejects_by_reason.items() if shard.entry else ():
                reasons[reason] = reasons.get(reason, 0) + rows
        return reasons


def place_given(value: object, name: str) -> Location:
    """Return the place that a caller of the Python API passed.

    Args:
        value: What was passed.
        name: Name of the argument, for the message.

    Raises:
        TypeError: It is no path and no URL.
        ConfigError: The URL cannot be used.
    """
    if not isinstance(value, str | Location):
        raise TypeError(
            f"{name}: expected a folder or URL as str or pathlib.Path, got {type(value).__name__}; for example "
            f'{name}="nights/2026-11-26"'
        )
    return located(value)


def open_night(place: Location) -> NightFolder:
    """Open a night for reading.

    Raises:
        ConfigError: The folder holds no night, or the night cannot be read.
        BusyError: A job is using the folder.
    """
    out = output_folder(place)
    names = out.names()
    if PLAN_FILE not in names:
        raise ConfigError(_no_night(out, names))
    if (by := out.holder()) is not None:
        raise BusyError(f"{out}: {by} is at work in this folder; `specter-batch status {out}` shows when it is done")
    if out.is_swapping:
        raise ConfigError(f"{out}: files of two nights, because a replacement was interrupted; run its command again")
    plan = read_plan(out)
    entries = {entry.shard: entry for entry in read_entries(out) if entry.binding == plan.binding}
    shards = tuple(_shards(out, plan, entries))
    missing = [shard.name for shard in shards if shard.entry is None]
    if missing and SUCCESS_FILE in names:
        raise ConfigError(
            f"{out}: the ledger lacks {len(missing):,} of {len(shards):,} shards, although the night has "
            f"{SUCCESS_FILE}; `specter-batch verify {out}` lists what differs, and running the night again repairs it"
        )
    return NightFolder(out=out, plan=plan, shards=shards, report=_report(out), manifest=_manifest(out))


def _no_night(out: OutputFolder, names: set[str]) -> str:
    made_by = output_command(out.place, names=names) if names else None
    if made_by == INGEST:
        return (
            f"{out}: holds papers that `specter-batch ingest` wrote, and no labels; label them first: `specter-batch "
            f"classify {out} OUT --bundle BUNDLE`, then give OUT"
        )
    if made_by not in (None, CLASSIFY):
        return f"{out}: holds the output of `specter-batch {made_by}`; give the OUT folder of `classify`"
    if made_by == CLASSIFY:
        return f"{out}: no night has begun to label here, there is no {PLAN_FILE}; run the night again"
    if not names:
        return f"{out}: there is no such folder, or it is empty; give the OUT folder of `specter-batch classify`"
    return (
        f"{out}: is no night, there is no {PLAN_FILE}; give the OUT folder of `specter-batch classify`. "
        f"`specter-batch nights {out}` lists the nights in a folder"
    )


def _shards(out: OutputFolder, plan: PlanFile, entries: Mapping[str, LedgerEntry]) -> Iterator[ShardRows]:
    """Yield the shards. The plan lists the shards file by file, so their sums give the place of each."""
    errors = _errors(out)
    files = iter(plan.files.items())
    file, left, start = "", 0, 0
    for name, rows in plan.shards.items():
        if not left:
            file, left = next(((file, n) for file, n in files if n or not plan.rows), ("", 0))
            start = 0
        entry = entries.get(name)
        if entry is not None and (entry.file, entry.start, entry.rows) != (file, start, rows):
            raise ConfigError(
                f"{out / PLAN_FILE}: shard {name} has rows {start} to {start + rows} of {file}, and other rows in the "
                "ledger; run the night again"
            )
        error = None if entry else errors.get(name, errors.get(file, NOT_LABELLED))
        yield ShardRows(name=name, file=file, start=start, rows=rows, entry=entry, error=error)
        left, start = left - rows, start + rows


def _errors(out: OutputFolder) -> Mapping[str, str]:
    """Return why shards have no labels, by shard or file."""
    report = _report(out)
    if report is not None:
        return report.failed_shards
    try:
        return Progress.model_validate_json((out / PROGRESS_FILE).read_bytes()).failed
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return {}


def _report(out: OutputFolder) -> NightReport | None:
    try:
        return read_report(out.place)
    except (ConfigError, FileNotFoundError):
        return None


def _manifest(out: OutputFolder) -> NightManifest | None:
    try:
        return NightManifest.model_validate_json((out / MANIFEST_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
