"""Which night an output folder holds, and whether a run would replace finished labels of another one."""

import datetime
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from specter_batch.errors import ConfigError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.graph_names import DeviceKind
from specter_batch.storage.location import Location
from specter_batch.storage.stored_names import stored_name
from specter_jobs.output.ledger import binding_of, output_sizes, read_entries
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.sections import LabelRules, Reading
from specter_jobs.plan.shards import Plan

# Raised when the same rows, bundle and settings give other output files than an earlier version did.
OUTPUT_VERSION = 1
# Raised when other rows are labelled than an earlier version labelled. Labels of earlier nights can still be reused.
SCREENING_VERSION = 2
# How much of a fingerprint is shown.
SHOWN_FINGERPRINT = 12


class NightIdentity(BaseModel):
    """What two runs on one output folder must share to be the same night; a part of `plan.json`.

    The date is not compared: a run after midnight resumes the same night. The files of the dump are not compared
    either: a dump may grow, and a file of it may be fixed.

    Attributes:
        dump: Folder that the input files are in, or the dump that is ingested first; links are resolved.
        format: Format of a dump that is ingested first.
        date: Date of the night, to show it.
        bundle: Place of the bundle, to show it.
        fingerprint: Fingerprint of the bundle.
        device: Kind of device that labels.
        graph: SHA-256 of the model file that runs on it.
        screening_version: `SCREENING_VERSION` of the night; 1 in folders that do not say.
        settings: The settings of the section `LabelRules`.
        reading: The settings of the section `Reading`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may say more

    dump: str
    format: str | None
    date: datetime.date
    bundle: str
    fingerprint: str
    device: str
    graph: str
    output_version: int
    screening_version: int = 1
    settings: dict[str, Any]
    reading: dict[str, str | None] = {}

    @classmethod
    def of(
        cls, config: NightConfig, bundle: ModelBundle, kind: DeviceKind, *, root: Location | None
    ) -> "NightIdentity":
        """Describe the night that a run is asked for.

        Args:
            config: Settings of the run.
            bundle: The model.
            kind: Kind of device that labels.
            root: Folder of the input files; None when the dump is ingested first.
        """
        place = (root if root is not None else Path(str(config.dump))).resolve()
        return cls(
            dump=stored_name(str(place)),
            format=config.format,
            date=config.date,
            bundle=stored_name(str(config.bundle)),
            fingerprint=bundle.fingerprint,
            device=kind,
            graph=bundle.graph_for(kind, config.graph).sha256,
            output_version=OUTPUT_VERSION,
            screening_version=SCREENING_VERSION,
            settings=config.values_of(LabelRules),
            reading=config.values_of(Reading),
        )

    @property
    def model(self) -> str:
        """Hash of what must be the same for the same text to have the same label and score."""
        return model_hash(self.fingerprint, device=self.device, graph=self.graph)

    @property
    def binding(self) -> str:
        """Hash of all that can change an output but the rows themselves."""
        return binding_of({"model": self.model, "screening_version": self.screening_version, **self.settings})

    def differences(self, held: "NightIdentity") -> list[str]:
        """Say how this night differs from the one that a folder holds; nothing if it is the same night."""
        found = []
        if (self.dump, self.format) != (held.dump, held.format):
            found.append(f"DUMP is {_dump(self)} instead of {_dump(held)}")
        if self.fingerprint != held.fingerprint:
            found.append(f"the bundle is {_bundle(self)} instead of {_bundle(held)}")
        elif (self.device, self.graph) != (held.device, held.graph):
            found.append(f"the model runs on {self.device} with another file than the one used on {held.device}")
        pairs = [(name, self.settings.get(name), held.settings.get(name)) for name in self.settings | held.settings]
        pairs += [(name, self.reading.get(name), before) for name, before in held.reading.items()]
        for name, now, before in pairs:
            if now != before:
                option = NightConfig.spelling(name)
                found.append(f"{option} is {_shown(now)} instead of {_shown(before)}")
        if (self.output_version, self.screening_version) != (held.output_version, held.screening_version):
            found.append("another version of specter-batch wrote the labels")
        return found


def model_hash(fingerprint: str, *, device: str, graph: str) -> str:
    """Hash what must be the same for the same text to have the same label and score.

    Args:
        fingerprint: Fingerprint of the bundle.
        device: Kind of device that labels.
        graph: SHA-256 of the model file.
    """
    return binding_of(
        {"output_version": OUTPUT_VERSION, "bundle": fingerprint, "device": device, "graph": graph},
    )


@dataclass(frozen=True, kw_only=True)
class HeldNight:
    """The finished part of the night that an output folder holds.

    Attributes:
        entries: Finished shards whose label file is there, newest entry of each.
        unlisted: Number of label files that the ledger does not know.
        identity: Which night it is; None if the folder does not say.
        root: Folder of its input files by an older `plan.json`, which has no identity, or by `manifest.json`; None if
            the folder does not say that either.
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

    def differences(self, night: NightIdentity) -> list[str]:
        """Say how a night differs from this one."""
        if self.identity is not None:
            found = night.differences(self.identity)
        elif self.root is not None and night.format is None and stored_name(str(self.root.resolve())) != night.dump:
            found = [f"DUMP is {night.dump} instead of {self.root}"]
        elif self.root is None and not self.is_empty:
            found = ["DUMP may be another one, because plan.json is gone or damaged"]
        else:
            found = []
        bindings = {entry.binding for entry in self.entries} | ({self.binding} if self.binding else set())
        if not found and bindings - {night.binding}:
            found = ["the labels were made with another bundle, device, setting or version of specter-batch"]
        return found

    def __str__(self) -> str:
        rows = sum(entry.labels.rows for entry in self.entries)
        what = f"{rows:,} labelled rows in {len(self.entries):,} finished shards"
        if self.unlisted:
            what += f" and {self.unlisted:,} label files without a ledger entry"
        if self.identity is None:
            return what if self.root is None else f"{what}, of {self.root}"
        night = self.identity
        return f"{what}, of {_dump(night)}, night of {night.date}, bundle {_bundle(night)}"


def held_night(
    out: Location, *, identity: NightIdentity | None, root: Location | None, binding: str | None
) -> HeldNight:
    """Look at the labels that a folder holds.

    Args:
        out: The output folder.
        identity: From its `plan.json`, as `root` and `binding` are.
        root: Folder of the input files.
        binding: Hash of model and settings.
    """
    sizes = output_sizes(out)
    newest = {entry.shard: entry for entry in read_entries(out)}
    entries = [entry for entry in newest.values() if entry.labels.name in sizes]
    known = {entry.labels.name for entry in entries}
    unlisted = [name for name in sizes if name.startswith("labels/") and name.endswith(".parquet")]
    return HeldNight(
        entries=entries,
        unlisted=len([name for name in unlisted if name not in known]),
        identity=identity,
        root=root,
        binding=binding,
    )


def check_no_file_is_gone(out: Location, held: HeldNight, plan: Plan, *, gone: Collection[str]) -> None:
    """Check that the dump still has every file whose papers are labelled in the output folder.

    Args:
        out: The output folder.
        held: What it holds.
        plan: The files of the dump.
        gone: For a dump that is ingested first: its files that are gone. The parquet that it is made into may come and
            go, because newer files take papers out of older ones.

    Raises:
        ConfigError: Files are gone; without them the run would delete finished labels.
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


def _dump(night: NightIdentity) -> str:
    return night.dump + (f" (--format {night.format})" if night.format else "")


def _shown(value: object) -> str:
    return "not given" if value is None else str(value)


def _bundle(night: NightIdentity) -> str:
    return f"{night.bundle} ({night.fingerprint[:SHOWN_FINGERPRINT]})"
