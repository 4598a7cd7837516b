"""Replace a night: the new night is labelled in its own folder, and replaces the old one when it is complete.

The swap moves files one by one, on a disk and in a store. A journal is written before the first move. If the swap is
killed, the next command that opens the folder finishes it. Moving or removing a file twice does no harm.
"""

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict

from specter_batch.errors import ConfigError
from specter_batch.file_problems import read_json_model
from specter_batch.storage.files import write_text
from specter_batch.storage.location import Location
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.held import held_in
from specter_jobs.output.names import (
    LABELS,
    NIGHT_NAMES,
    NOT_MOVED,
    REJECTS,
    STAGING,
    SUCCESS_FILE,
    SWAP_FILE,
    is_parquet,
)


class Swap(BaseModel):
    """The journal of a swap: files below OUT to remove unless they are new, and files of the replacement to move."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    old: tuple[str, ...]
    new: tuple[str, ...]


def swap_in(out: OutputFolder) -> None:
    """Replace the old night by the complete night of the replacement folder. `_SUCCESS` is written last."""
    staging = out.staging
    swap = Swap(old=_files(out, NIGHT_NAMES), new=_files(staging, staging.names() - NOT_MOVED))
    write_text(staging / SWAP_FILE, swap.model_dump_json(indent=1) + "\n")
    _carry_out(out, swap)


def finish_swap(out: OutputFolder) -> None:
    """Finish a swap that was interrupted or was about to begin.

    Raises:
        ConfigError: The journal of the swap is damaged.
    """
    staging = out.staging
    names = staging.names()
    if SWAP_FILE in names:
        _carry_out(out, _read_swap(staging / SWAP_FILE))
    elif SUCCESS_FILE in names:
        swap_in(out)
    elif out.keeps_empty_folders and (out / STAGING).is_dir() and held_in(staging).is_empty:
        staging.remove()  # a kill in the last step of a swap, or before the first label, left it


def _read_swap(file: Location) -> Swap:
    return read_json_model(
        file,
        Swap,
        what="the list of files to move is damaged",
        advice=", so this folder holds files of two nights; give another OUT",
        error=ConfigError,
    )


def _carry_out(out: OutputFolder, swap: Swap) -> None:
    staging = out.staging
    out.remove_files([SUCCESS_FILE])
    out.take(swap.new, staging)
    gone = sorted(set(swap.old) - set(swap.new))
    out.remove_files(gone)
    out.sync([*swap.new, *gone])
    write_text(out / SUCCESS_FILE, "")
    # The order matters: a replacement folder with _SUCCESS and no journal would be swapped in again, although it is
    # empty.
    staging.remove_files([SUCCESS_FILE])
    staging.remove_files([SWAP_FILE])
    staging.remove()


def _files(folder: OutputFolder, names: Collection[str]) -> tuple[str, ...]:
    """Return the files below a folder whose path begins with one of the names, without files of the user."""
    top = {name: name.split("/")[0] for name in folder.files()}
    return tuple(
        sorted(
            name
            for name, first in top.items()
            if first in names and first != STAGING and (first not in (LABELS, REJECTS) or is_parquet(name))
        )
    )
