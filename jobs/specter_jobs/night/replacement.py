"""Replacing a night: the new one is labelled in a folder of its own, and takes the old one's place when it is complete.

The swap moves files one by one, on a disk and in a store alike. A journal, written before the first move, makes it safe
to kill: whoever opens the folder next finishes the swap, and moving or removing a file twice does no harm.
"""

import logging
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from specter_batch.errors import ConfigError
from specter_batch.file_problems import file_problem
from specter_batch.storage.files import sync_folder, write_text, written_whole
from specter_batch.storage.folder_lock import LOCK_FILE
from specter_batch.storage.location import Location, in_parallel, names_in
from specter_batch.storage.output_marker import MARKER_FILE
from specter_batch.storage.url_path import UrlPath
from specter_jobs.logs import log
from specter_jobs.output.writer import LABELS, REJECTS, SUCCESS_FILE
from specter_jobs.plan.identity import HeldNight, NightIdentity
from specter_jobs.plan.plan_file import held_in

# Folder below OUT in which a replacement is labelled.
STAGING = "_replacement"
SWAP_FILE = "swap.json"

# What a night leaves in its folder, and a replacement removes when it has no file of the same name.
_NIGHT_NAMES = {
    LABELS, REJECTS, "ledger", "ledger.jsonl", "plan.json", "progress.json", "report.json", "report.md", "report.html",
    "manifest.json", "ingested",
}  # fmt: skip
_NOT_MOVED = {LOCK_FILE, MARKER_FILE, SWAP_FILE, SUCCESS_FILE}


class Swap(BaseModel):
    """The journal of a swap: files below OUT to remove unless they are new, and files below the staging to move."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    old: tuple[str, ...]
    new: tuple[str, ...]


def folder_to_label(out: Location, held: HeldNight, night: NightIdentity, *, replace: bool) -> Location:
    """Return the folder that a run may write to: OUT itself, or the staging of a replacement.

    The caller holds the folder's lock.

    Args:
        out: The output folder.
        held: What it holds.
        night: What the run is asked for.
        replace: Whether the user allowed to replace another night.

    Raises:
        ConfigError: OUT holds finished labels of another night, and `replace` is not set.
    """
    differences = held.differences(night)
    staging = out / STAGING
    begun = not held_in(staging).is_empty
    if held.is_empty or not differences:
        if begun:
            log(
                "unfinished replacement left",
                level=logging.WARNING,
                folder=str(staging),
            )
        return out
    if not replace:
        more = f" (an unfinished replacement is in {staging}; --replace continues it)" if begun else ""
        raise ConfigError(
            f"{out}: holds another night, and nothing was changed. It holds {held}. This run would replace these "
            f"labels: {'; '.join(differences)}. Give another OUT, or add --replace to replace that night when the new "
            f"one is complete{more}"
        )
    if held_in(staging).differences(night):
        log("unfinished replacement removed", level=logging.WARNING, folder=str(staging))
        _remove(staging)
    log("replacing a night", level=logging.WARNING, out=str(out), held=str(held), folder=str(staging))
    return staging


def swap_in(out: Location) -> None:
    """Put the complete night of the staging in the place of the old one; `_SUCCESS` is written last."""
    staging = out / STAGING
    swap = Swap(old=_files(out, _NIGHT_NAMES), new=_files(staging, names_in(staging) - _NOT_MOVED))
    write_text(staging / SWAP_FILE, swap.model_dump_json(indent=1) + "\n")
    _carry_out(out, swap)


def finish_swap(out: Location) -> None:
    """Finish a swap that was interrupted, or was about to begin.

    Raises:
        ConfigError: The journal of the swap is damaged.
    """
    names = names_in(out / STAGING)
    if SWAP_FILE in names:
        _carry_out(out, _read_swap(out / STAGING / SWAP_FILE))
    elif SUCCESS_FILE in names:
        swap_in(out)
    elif isinstance(out, Path) and (out / STAGING).is_dir() and held_in(out / STAGING).is_empty:
        _remove(out / STAGING)  # emptied by a swap that was killed in its last step, or killed before any label


def is_swapping(out: Location) -> bool:
    """Say whether a swap was interrupted: the folder then holds files of two nights."""
    return SWAP_FILE in names_in(out / STAGING)


def _read_swap(file: Location) -> Swap:
    try:
        return Swap.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ConfigError(
            f"{file}: the list of files to move is damaged ({file_problem(error, Swap)}), so this folder holds files "
            "of two nights; give another OUT"
        ) from error


def _carry_out(out: Location, swap: Swap) -> None:
    staging = out / STAGING
    (out / SUCCESS_FILE).unlink(missing_ok=True)
    list(in_parallel(lambda name: _move(staging / name, out / name), swap.new))
    gone = sorted(set(swap.old) - set(swap.new))
    list(in_parallel(lambda name: (out / name).unlink(missing_ok=True), gone))
    if isinstance(out, Path):
        for folder in {(out / name).parent for name in (*swap.new, *gone)}:
            if folder.is_dir():
                sync_folder(folder)
    write_text(out / SUCCESS_FILE, "")
    # In this order: a staging with _SUCCESS and no journal would be swapped in once more, and hold nothing.
    (staging / SUCCESS_FILE).unlink(missing_ok=True)
    (staging / SWAP_FILE).unlink(missing_ok=True)
    _remove(staging)


def _move(source: Location, target: Location) -> None:
    try:
        if isinstance(source, UrlPath):
            content = source.read_bytes()
            with written_whole(target) as partial:
                partial.write_bytes(content)
            source.unlink(missing_ok=True)
        else:
            assert isinstance(target, Path)  # noqa: S101
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
    except FileNotFoundError:
        return  # moved before the swap was interrupted


def _files(folder: Location, names: set[str]) -> tuple[str, ...]:
    """Return the files below a folder whose path begins with one of the names, but nothing that a user put there."""
    if isinstance(folder, UrlPath):
        found = list(folder.below(recursive=True))
    else:
        found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    top = {name: name.split("/")[0] for name in found}
    return tuple(
        sorted(
            name
            for name in found
            if top[name] in names - {STAGING} and (top[name] not in (LABELS, REJECTS) or name.endswith(".parquet"))
        )
    )


def _remove(folder: Location) -> None:
    if isinstance(folder, UrlPath):
        list(in_parallel(lambda name: (folder / name).unlink(missing_ok=True), folder.below(recursive=True)))
    elif folder.exists():
        shutil.rmtree(folder)
