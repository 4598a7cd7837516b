"""The folder that a night is labelled in: marked, locked, and only taken if no finished labels are lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from specter_batch.storage.location import Location
from specter_batch.storage.output_marker import mark_output
from specter_jobs.night.from_dump import PlannedInput, plan_input
from specter_jobs.night.replacement import finish_swap, folder_to_label
from specter_jobs.output.lock import locked
from specter_jobs.output.writer import LABELS, REJECTS
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.identity import NightIdentity, check_no_file_is_gone
from specter_jobs.plan.plan_file import held_in

COMMAND = "classify"


@contextmanager
def claimed(out: Location) -> Iterator[None]:
    """Mark an output folder as a night's and hold its lock.

    Raises:
        ConfigError: The folder belongs to another command or to nobody, or another job is at work on it.
    """
    mark_output(out, COMMAND)
    with locked(out):
        yield


def folder_and_input(
    config: NightConfig, night: NightIdentity, planned: PlannedInput | None, *, console: Console
) -> tuple[Location, PlannedInput]:
    """Return the folder to label in and the planned input, if the run may write there.

    Raises:
        ConfigError: Finished labels would be lost, and `config.replace` is not set.
    """
    finish_swap(config.out)
    held = held_in(config.out)
    out = folder_to_label(config.out, held, night, replace=config.replace)
    planned = planned or plan_input(config, out, console=console)
    if not config.replace:
        check_no_file_is_gone(out, held, planned.plan, gone=planned.gone)
    return out, planned


def make_folders(out: Location) -> None:
    """Mark the folder that is labelled in, which may be that of a replacement, and make its subfolders on a disk."""
    mark_output(out, COMMAND)
    if isinstance(out, Path):
        for kind in (LABELS, REJECTS):
            (out / kind).mkdir(parents=True, exist_ok=True)
