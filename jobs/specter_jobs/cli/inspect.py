"""The commands that look at a night without touching it: status and verify."""

from dataclasses import asdict
from typing import Annotated

import typer
from pydantic import Field

from specter_batch.options import JsonOutput
from specter_batch.options.command import command
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import PathOrUrl
from specter_batch.terminal import show, show_json

EXIT_DIFFERS = 1
EXIT_GATE_FAILED = 4
# An interrupted night of a large dump lacks thousands of shards; the first few tell the story.
MAX_SHOWN = 20


class NightFolder(JsonOutput):
    """The night to look at."""

    out: Annotated[PathOrUrl, Option(argument="OUT")] = Field(description="Output of a night: its folder or URL.")


@command("specter-batch status night", "specter-batch status night --json")
def status(night: NightFolder) -> None:
    """Show how far a night is: running, finished, or stopped before its end."""
    from specter_jobs.inspect.status import night_status, status_lines

    status = night_status(night.out)
    if night.as_json:
        show_json(status.model_dump(mode="json"))
    else:
        show(*status_lines(status))


@command("specter-batch verify night", "specter-batch verify night --json")
def verify(night: NightFolder) -> None:
    """Check a night's counts, schemas and hashes; exit code 1 if anything differs, 4 if only a gate failed."""
    from specter_jobs.inspect.verify import verify_night

    result = verify_night(night.out)
    if night.as_json:
        show_json(asdict(result) | {"verified": not result.differences and not result.failed_gates})
    else:
        more = len(result.differences) - MAX_SHOWN
        lines = list(result.differences[:MAX_SHOWN])
        lines += [f"… and {more:,} more; --json lists all"] if more > 0 else []
        show(
            *lines,
            *(f"gate {gate}" for gate in result.failed_gates),
            *(f"note: {note}" for note in result.notes),
            f"{result.rows:,} rows in {result.shards:,} shards, {result.files:,} files: "
            + (f"{len(result.differences):,} differences" if result.differences else "all match the ledger")
            + (", but gates failed and there is no _SUCCESS" if result.failed_gates else ""),
        )
    raise typer.Exit(EXIT_DIFFERS if result.differences else EXIT_GATE_FAILED if result.failed_gates else 0)
