"""Where a night stands, seen from outside: of a job at work, a finished one, or one that was killed."""

import time
from typing import Any

from pydantic import ValidationError

from specter_batch.display import ignored_line
from specter_batch.errors import ConfigError
from specter_batch.file_problems import file_problem
from specter_batch.storage.location import Location
from specter_jobs.output.folder import OutputFolder, output_folder
from specter_jobs.output.names import PROGRESS_FILE, SUCCESS_FILE
from specter_jobs.output.progress_file import Progress, timestamp
from specter_jobs.output.report_model import read_report
from specter_jobs.report.gates import describe_gate, failed_gates, inapplicable_gates
from specter_jobs.report.night_report import unknown_labels_sentence


def night_status(place: Location) -> dict[str, Any]:
    """Read a night's `progress.json` and its lock.

    `state` is `surveying` or `labelling` while a job is at work, `finished` when one came to its end, and `stopped`
    when it was killed or interrupted: then the same command goes on.

    Raises:
        ConfigError: The folder is no output of this job.
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
    return {
        "state": state,
        "holder": by,
        "started": timestamp(progress.started),
        "updated": timestamp(progress.updated),
        "shards": {"planned": progress.shards, "done": progress.shards_done, "failed": len(progress.failed)},
        "rows": {"in": progress.rows, "done": progress.rows_done},
        "papers": progress.papers,
        "papers_per_second": papers_per_second,
        "model_wait_share": round(waited, 4) if waited is not None and progress.papers else None,
        "eta_seconds": eta,
        "failed": progress.failed,
        "refused": progress.refused,
        "ignored": progress.ignored,
        "ignored_entries": progress.ignored_entries,
        "exit_code": progress.exit_code if state == "finished" else None,
        "success": SUCCESS_FILE in out.names(),
        "failed_gates": [describe_gate(gate) for gate in failed_gates(report)] if report else [],
        "gates_not_applicable": [describe_gate(gate) for gate in inapplicable_gates(report)] if report else [],
        "macro_f1": report["macro_f1"] if report else None,
        "scored_papers": report["scored_papers"] if report else None,
        "unknown_labels": unknown_labels_sentence(report) if report else None,
        "replacement": _replacement(out),
    }


def status_lines(status: dict[str, Any]) -> list[str]:
    """Say it in a few lines."""
    shards, rows = status["shards"], status["rows"]
    state = status["state"]
    if state == "finished":
        state += f" with exit code {status['exit_code']}"
        state += "" if status["success"] else f", without {SUCCESS_FILE}"
    elif state == "stopped":
        state += " before its end; run the same command again to go on"
    lines = [
        state,
        f"shards   {shards['done']:,} of {shards['planned']:,} done, {shards['failed']:,} failed",
        f"rows     {rows['done']:,} of {rows['in']:,}",
        f"started  {status['started']}, last heard of {status['updated']}",
    ]
    if status["papers_per_second"] is not None:
        waited = status["model_wait_share"]
        told = "" if waited is None else f", the model waited {waited:.0%} of the time"
        lines.append(f"speed    {status['papers_per_second']:,} papers/s{told}")
    if status["eta_seconds"] is not None:
        minutes, seconds = divmod(status["eta_seconds"], 60)
        lines.append(f"left     about {minutes // 60}:{minutes % 60:02d}:{seconds:02d}")
    if status["holder"]:
        lines.append(f"held by  {status['holder']}")
    lines += [f"stopped  {status['refused']}"] if status["refused"] else []
    if status["macro_f1"] is not None:
        lines.append(f"F1       macro F1 {status['macro_f1']:.4f} over {status['scored_papers']:,} papers")
    lines += [f"labels   {status['unknown_labels']}"] if status["unknown_labels"] else []
    lines += [f"gate     {line}" for line in (*status["failed_gates"], *status["gates_not_applicable"])]
    lines += [f"failed   {name}: {error}" for name, error in status["failed"].items()]
    if ignored := ignored_line(status["ignored"], entries=status["ignored_entries"]):
        lines.append(f"ignored  {ignored}")
    if status["replacement"]:
        lines.append(f"replaced {status['replacement']}")
    return lines


def failed_gate_lines(out: OutputFolder) -> list[str]:
    """Return a line for each gate that a night failed, by its `report.json`; none if that cannot be read."""
    report = _report(out)
    return [] if report is None else [describe_gate(gate) for gate in failed_gates(report)]


def _report(out: OutputFolder) -> dict[str, Any] | None:
    try:
        return read_report(out.place)
    except (ConfigError, OSError):
        return None


def _replacement(out: OutputFolder) -> str | None:
    """Say how far a replacement of this night is; None if there is none."""
    if out.is_swapping:
        return "the new night is complete and is being put in place; if no job is at work, run its command again"
    try:
        progress = Progress.model_validate_json((out.staging / PROGRESS_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    return (
        f"{progress.shards_done:,} of {progress.shards:,} shards of a new night are done in {out.staging}; "
        "this night stays until they all are"
    )


def _read(out: OutputFolder) -> Progress:
    file = out / PROGRESS_FILE
    try:
        return Progress.model_validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{out}: no night has started here, there is no {PROGRESS_FILE}") from None
    except ValidationError as error:
        raise ConfigError(
            f"{file}: not the progress of a night ({file_problem(error, Progress)}); run the night again"
        ) from error
