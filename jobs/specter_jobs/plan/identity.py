"""The identity of a night: dump, model and settings. Two runs with the same identity are the same night."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from specter_batch.display import stored_name
from specter_batch.graph_names import DeviceKind
from specter_batch.storage.files import json_hash
from specter_batch.storage.location import Location
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.sections import LabelRules, Reading

# Increased when the same rows, bundle and settings give other output files than in an earlier version.
OUTPUT_VERSION = 1
# Increased when other rows are labelled than in an earlier version. Labels of earlier nights can still be reused.
SCREENING_VERSION = 2
# A setting that version 0.1.0 counted among the settings that change labels. It only adds a column.
FORMER_RULE = "probabilities"
# Number of characters of a fingerprint that are shown.
SHOWN_FINGERPRINT = 12


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """The parts of a model that must be equal for a text to get the same label and score.

    Attributes:
        bundle: Place of the bundle, to show it.
        fingerprint: Fingerprint of the bundle.
        device: Kind of device that labels.
        graph: SHA-256 of the model file that runs on it.
    """

    bundle: str
    fingerprint: str
    device: str
    graph: str

    @property
    def hash(self) -> str:
        """Hash of the fingerprint, the device and the graph."""
        return model_hash(self.fingerprint, device=self.device, graph=self.graph)


class NightIdentity(BaseModel):
    """The properties that two runs must share to be the same night. They are a part of `plan.json`.

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
        precisions: SHA-256 of each model file of the bundle -> its precision. It is used in messages and not stored.
        screening_version: `SCREENING_VERSION` of the night; 1 in folders without this field.
        settings: The settings of the section `LabelRules`.
        reading: The settings of the section `Reading`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may have more fields

    dump: str
    format: str | None
    date: datetime.date
    bundle: str
    fingerprint: str
    device: str
    graph: str
    precisions: dict[str, str] = Field(default={}, exclude=True)
    output_version: int
    screening_version: int = 1
    settings: dict[str, JsonValue]
    reading: dict[str, str | None] = {}

    @classmethod
    def of(
        cls,
        config: NightConfig,
        *,
        fingerprint: str,
        kind: DeviceKind,
        graph: str,
        precisions: Mapping[str, str],
        root: Location | None,
    ) -> "NightIdentity":
        """Return the identity of the night that a run is going to label.

        Args:
            config: Settings of the run.
            fingerprint: Fingerprint of the bundle.
            kind: Kind of device that labels.
            graph: SHA-256 of the model file that runs on it.
            precisions: Precision of each model file of the bundle, by its SHA-256.
            root: Folder of the input files; None if the dump is ingested first.
        """
        place = (root if root is not None else Path(str(config.dump))).resolve()
        return cls(
            dump=stored_name(str(place)),
            format=config.format,
            date=config.date,
            bundle=stored_name(str(config.bundle)),
            fingerprint=fingerprint,
            device=kind,
            graph=graph,
            precisions=dict(precisions),
            output_version=OUTPUT_VERSION,
            screening_version=SCREENING_VERSION,
            settings=config.values_of(LabelRules),
            reading=config.values_of(Reading),
        )

    @property
    def model(self) -> ModelIdentity:
        """The model that labels the night."""
        return ModelIdentity(bundle=self.bundle, fingerprint=self.fingerprint, device=self.device, graph=self.graph)

    @property
    def binding(self) -> str:
        """Hash of all that can change a label but the rows themselves."""
        return self._binding(probabilities=False)

    @property
    def bindings(self) -> frozenset[str]:
        """The bindings that say the same: `binding`, and the one that version 0.1.0 gave a night with probabilities."""
        return frozenset({self.binding, self._binding(probabilities=True)})

    def _binding(self, *, probabilities: bool) -> str:
        rules = {name: value for name, value in self.settings.items() if name != FORMER_RULE}
        shared = {"model": self.model.hash, "screening_version": self.screening_version}
        return json_hash({**shared, **rules, FORMER_RULE: probabilities})

    def differences(self, held: "NightIdentity") -> list[str]:
        """List how this night differs from the night in a folder. The list is empty if they are the same night."""
        differences = []
        if (self.dump, self.format) != (held.dump, held.format):
            differences.append(f"DUMP is {dump_text(self)} instead of {dump_text(held)}")
        if self.fingerprint != held.fingerprint:
            differences.append(f"the bundle is {bundle_text(self)} instead of {bundle_text(held)}")
        elif (self.device, self.graph) != (held.device, held.graph):
            differences.append(self._other_model(held))
        rules = [name for name in self.settings | held.settings if name != FORMER_RULE]
        pairs = [(name, self.settings.get(name), held.settings.get(name)) for name in rules]
        pairs += [(name, self.reading.get(name), before) for name, before in held.reading.items()]
        for name, now, before in pairs:
            if now != before:
                option = NightConfig.spelling(name)
                differences.append(f"{option} is {_shown(now)} instead of {_shown(before)}")
        if (self.output_version, self.screening_version) != (held.output_version, held.screening_version):
            differences.append("another version of specter-batch wrote the labels")
        return differences

    def _other_model(self, held: "NightIdentity") -> str:
        """Return a sentence about the option that makes this night use another model file of the same bundle."""
        if self.device != held.device:
            resume = f"`--device {held.device}` resumes that night"
            return f"the model runs on {self.device} instead of {held.device} ({resume})"
        now, before = self.precisions.get(self.graph), self.precisions.get(held.graph)
        if now is None or before is None:
            return f"the model runs on {self.device} with another file than the one used before"
        return f"the model runs in {now} instead of {before} (`--graph {before}` resumes that night)"


def model_hash(fingerprint: str, *, device: str, graph: str) -> str:
    """Hash the parts of a model that must be equal for a text to get the same label and score.

    Args:
        fingerprint: Fingerprint of the bundle.
        device: Kind of device that labels.
        graph: SHA-256 of the model file.
    """
    return json_hash(
        {"output_version": OUTPUT_VERSION, "bundle": fingerprint, "device": device, "graph": graph},
    )


def dump_text(night: NightIdentity) -> str:
    """Return the dump of a night as text for a message."""
    return night.dump + (f" (--format {night.format})" if night.format else "")


def _shown(value: object) -> str:
    return "not given" if value is None else str(value)


def bundle_text(night: NightIdentity) -> str:
    """Return the bundle of a night as text for a message."""
    return f"{night.bundle} ({night.fingerprint[:SHOWN_FINGERPRINT]})"
