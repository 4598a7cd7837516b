"""Which night an output folder holds, and whether a run would replace finished labels of another one."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from specter_batch.display import original_name
from specter_batch.errors import ConfigError, SpecterBatchError
from specter_batch.storage.location import Location, located
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.ledger import read_entries
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import LABELS, MANIFEST_FILE, PLAN_FILE, is_parquet
from specter_jobs.output.plan_file import PlanFile
from specter_jobs.plan.identity import NightIdentity, bundle_text, dump_text
from specter_jobs.plan.shards import Plan


@dataclass(frozen=True, kw_only=True)
class HeldNight:
    """The finished part of the night that an output folder holds.

    Attributes:
        entries: Finished shards whose label file exists, the newest entry of each.
        unlisted: Number of label files that are not in the ledger.
        identity: Identity of the night; None if the folder does not record it.
        root: Folder of its input files from an older `plan.json`, which has no identity, or from `manifest.json`; None
            if neither records it.
        binding: Hash of its model and settings.
    """

    entries: Sequence[LedgerEntry]
    unlisted: int
    identity: NightIdentity | None
    root: Location | None
    binding: str | None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to lose."""
        return not self.entries and not self.unlisted

    def __str__(self) -> str:
        rows = sum(entry.labels.rows for entry in self.entries)
        what = f"{rows:,} labelled rows in {len(self.entries):,} finished shards"
        if self.unlisted:
            what += f" and {self.unlisted:,} label files without a ledger entry"
        if self.identity is None:
            return what if self.root is None else f"{what}, of {self.root}"
        night = self.identity
        return f"{what}, of {dump_text(night)}, night of {night.date}, bundle {bundle_text(night)}"


def held_night(
    out: OutputFolder, *, identity: NightIdentity | None, root: Location | None, binding: str | None
) -> HeldNight:
    """Return the finished part of the night that a folder holds.

    Args:
        out: The output folder.
        identity: Identity in its `plan.json`.
        root: Folder of the input files.
        binding: Hash of model and settings.
    """
    sizes = out.sizes()
    newest = {entry.shard: entry for entry in read_entries(out)}
    entries = [entry for entry in newest.values() if entry.labels.name in sizes]
    known = {entry.labels.name for entry in entries}
    unlisted = [name for name in sizes if name.startswith(f"{LABELS}/") and is_parquet(name)]
    return HeldNight(
        entries=entries,
        unlisted=len([name for name in unlisted if name not in known]),
        identity=identity,
        root=root,
        binding=binding,
    )


def check_no_file_is_gone(out: OutputFolder, held: HeldNight, plan: Plan, *, gone: Collection[str]) -> None:
    """Check that the dump still has every file whose papers are labelled in the output folder.

    Args:
        out: The output folder.
        held: The night in the folder.
        plan: The files of the dump.
        gone: For a dump that is ingested first: its files that are gone. The parquet files made from it may come and
            go, because newer files take papers out of older ones.

    Raises:
        ConfigError: Files are gone, and the run would delete their finished labels.
    """
    if plan_is_of_ingested := bool(held.identity and held.identity.format):
        lost = sorted(gone) if held.entries else []
    else:
        there = {file.name for file in plan.files} | {file.name for file in plan.failed}
        lost = sorted({entry.file for entry in held.entries} - there)
    if lost:
        rows = sum(entry.labels.rows for entry in held.entries if plan_is_of_ingested or entry.file in lost)
        shown = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        raise ConfigError(
            f"{out}: DUMP no longer has {len(lost)} files whose papers are labelled here ({shown}), and this run would "
            f"delete {'up to ' if plan_is_of_ingested else ''}{rows:,} finished labels. No label was changed. Put the "
            "files back, give another OUT, or add --replace to delete these labels when the run is complete"
        )


def held_in(out: OutputFolder) -> HeldNight:
    """Return the finished part of the night that a folder holds. Without a plan, the manifest names the dump."""
    try:
        plan_file = PlanFile.model_validate_json((out / PLAN_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return held_night(out, identity=None, root=_root_by_manifest(out), binding=None)
    root = located(original_name(plan_file.root))
    return held_night(out, identity=plan_file.night, root=root, binding=plan_file.binding)


def _root_by_manifest(out: OutputFolder) -> Location | None:
    """Return the DUMP that a finished night labelled, or its folder; None if it was ingested or is not recorded."""
    try:
        config = json.loads((out / MANIFEST_FILE).read_bytes())["config"]
        dump = located(config["dump"]) if config["format"] is None else None
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, SpecterBatchError):
        return None
    return dump.parent if isinstance(dump, Path) and dump.is_file() else dump
