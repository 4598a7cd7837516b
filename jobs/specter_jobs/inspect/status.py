"""The state of a night that runs, has finished, or was killed, read from its output folder."""

import time
from collections.abc import Mapping

from pydantic import Field, ValidationError

from specter_batch.display import ignored_line
from specter_batch.errors import ConfigError
from specter_batch.file_problems import read_json_model
from specter_batch.storage.location import Location, name_meant
from specter_jobs.output.folder import OutputFolder, output_folder
from specter_jobs.output.names import PROGRESS_FILE, SUCCESS_FILE
from specter_jobs.output.progress_file import Progress, timestamp
from specter_jobs.output.report_model.parts import ReportPart
from specter_jobs.output.report_model.report import NightReport, read_report


class ShardsDone(ReportPart):
    """Progress of the shards.

    Attributes:
        planned: Number of shards of the night.
        done: Number of shards whose labels are complete.
        failed: Number of shards and files that failed.
    """

    planned: int
    done: int
    failed: int


class RowsDone(ReportPart):
    """Progress of the rows.

    Attributes:
        rows_in: Number of rows in the input; `in` in JSON.
        done: Number of rows in complete shards.
    """

    rows_in: int = Field(validation_alias="in", serialization_alias="in")
    done: int


class NightStatus(ReportPart):
    """The content of `status --json`.

    Attributes:
        state: `surveying` or `labelling` while a job runs, `finished` if the night has ended, and `stopped` if the job
            was killed or interrupted. After that, the same command resumes.
        holder: Job that holds the folder; None if no job does.
        started: Start of the last run, in UTC.
        updated: Time of the last update, in UTC.
        shards: Progress of the shards.
        rows: Progress of the rows.
        papers: Number of papers that this run labelled.
        papers_per_second: Papers per second; None before the first paper.
        model_wait_share: Share of the time in which the model was idle.
        eta_seconds: Estimated time until the labels are complete.
        failed: Shards and files that failed, each with its error.
        refused: Reason why a finished night labelled nothing; None if it labelled papers.
        ignored: Entries of the input that are not read, each with the reason; the first of many.
        ignored_entries: Number of entries that are not read.
        exit_code: Exit code of a finished night.
        success: True if `_SUCCESS` exists.
        failed_gates: Gates that failed, in words.
        gates_not_applicable: Gates that do not apply, in words.
        macro_f1: Macro F1 of a finished night.
        scored_papers: Number of papers in the macro F1.
        unknown_labels: Sentence about papers whose true label the model does not know.
        replacement: Sentence about the progress of a replacement of this night.
    """

    state: str
    holder: str | None
    started: str
    updated: str
    shards: ShardsDone
    rows: RowsDone
    papers: int
    papers_per_second: float | None
    model_wait_share: float | None
    eta_seconds: int | None
    failed: Mapping[str, str]
    refused: str | None
    ignored: Mapping[str, str]
    ignored_entries: int
    exit_code: int | None
    success: bool
    failed_gates: tuple[str, ...]
    gates_not_applicable: tuple[str, ...]
    macro_f1: float | None
    scored_papers: int | None
    unknown_labels: str | None
    replacement: str | None


def night_status(place: Location) -> NightStatus:
    """Read a night's `progress.json`, its lock and, of a finished night, its report.

    Raises:
        ConfigError: The folder is not an output of this job.
    """
    out = output_folder(place)
    progress = _read(out)
    by = out.holder()
    report = _report(out) if progress.state == "finished" else None
    state = progress.state if by or progress.state == "finished" else "stopped"
    fresh = progress.rows_done - progress.rows_kept
    until = progress.updated
    if state == "labelling":
        until = time.time()
    since = progress.labelling_since
    seconds = max(until - since, 1e-3) if since is not None else None
    papers_per_second = round(progress.papers / seconds, 2) if seconds and progress.papers else None
    waited = max(1 - progress.model_seconds / progress.shard_seconds, 0.0) if progress.shard_seconds else None
    left = progress.rows - progress.rows_done
    eta = round(left * seconds / fresh) if seconds and fresh and state == "labelling" else None
    return NightStatus(
        state=state,
        holder=by,
        started=timestamp(progress.started),
        updated=timestamp(progress.updated),
        shards=ShardsDone(planned=progress.shards, done=progress.shards_done, failed=len(progress.failed)),
        rows=RowsDone(rows_in=progress.rows, done=progress.rows_done),
        papers=progress.papers,
        papers_per_second=papers_per_second,
        model_wait_share=round(waited, 4) if waited is not None and progress.papers else None,
        eta_seconds=eta,
        failed=progress.failed,
        refused=progress.refused,
        ignored=progress.ignored,
        ignored_entries=progress.ignored_entries,
        exit_code=progress.exit_code if state == "finished" else None,
        success=SUCCESS_FILE in out.names(),
        failed_gates=tuple(map(str, report.failed_gates)) if report else (),
        gates_not_applicable=tuple(map(str, report.inapplicable_gates)) if report else (),
        macro_f1=report.macro_f1 if report else None,
        scored_papers=report.scored_papers if report else None,
        unknown_labels=report.unknown_labels_sentence if report else None,
        replacement=_replacement(out),
    )


def status_lines(status: NightStatus) -> list[str]:
    """Return the status as lines for a terminal."""
    shards, rows, state = status.shards, status.rows, status.state
    if state == "finished":
        state += f" with exit code {status.exit_code}"
        state += "" if status.success else f", without {SUCCESS_FILE}"
    elif state == "stopped":
        state += " before its end; run the same command again to resume"
    lines = [
        state,
        f"shards   {shards.done:,} of {shards.planned:,} done, {shards.failed:,} failed",
        f"rows     {rows.done:,} of {rows.rows_in:,}",
        f"started  {status.started}, last update {status.updated}",
    ]
    if status.papers_per_second is not None:
        waited = status.model_wait_share
        waiting = "" if waited is None else f", the model waited {waited:.0%} of the time"
        lines.append(f"speed    {status.papers_per_second:,} papers/s{waiting}")
    if status.eta_seconds is not None:
        minutes, seconds = divmod(status.eta_seconds, 60)
        lines.append(f"left     about {minutes // 60}:{minutes % 60:02d}:{seconds:02d}")
    if status.holder:
        lines.append(f"held by  {status.holder}")
    lines += [f"stopped  {status.refused}"] if status.refused else []
    if status.macro_f1 is not None:
        lines.append(f"F1       macro F1 {status.macro_f1:.4f} over {status.scored_papers:,} papers")
    lines += [f"labels   {status.unknown_labels}"] if status.unknown_labels else []
    lines += [f"gate     {line}" for line in (*status.failed_gates, *status.gates_not_applicable)]
    lines += [f"failed   {name}: {error}" for name, error in status.failed.items()]
    if ignored := ignored_line(status.ignored, entries=status.ignored_entries):
        lines.append(f"ignored  {ignored}")
    if status.replacement:
        lines.append(f"replaced {status.replacement}")
    return lines


def failed_gate_lines(out: OutputFolder) -> list[str]:
    """Return a line for each gate that failed. There are no lines if `report.json` cannot be read."""
    report = _report(out)
    return [] if report is None else [str(gate) for gate in report.failed_gates]


def _report(out: OutputFolder) -> NightReport | None:
    try:
        return read_report(out.place)
    except (ConfigError, OSError):
        return None


def _replacement(out: OutputFolder) -> str | None:
    """Return a sentence about the progress of a replacement of this night; None without a replacement."""
    if out.is_swapping:
        return "the new night is complete and is being put in place; if no job is running, run its command again"
    try:
        progress = Progress.model_validate_json((out.staging / PROGRESS_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    return (
        f"{progress.shards_done:,} of {progress.shards:,} shards of a new night are done in {out.staging}; "
        "this night stays until they all are"
    )


def _read(out: OutputFolder) -> Progress:
    try:
        return read_json_model(
            out / PROGRESS_FILE,
            Progress,
            what="not the progress of a night",
            advice="; run the night again",
            error=ConfigError,
        )
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"{out}: no night has started here, there is no {PROGRESS_FILE}{name_meant(out.place)}; give the OUT "
            "folder of `specter-batch classify`"
        ) from None
