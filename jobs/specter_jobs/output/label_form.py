"""Which columns the label files of a night have, and what the files say about their night."""

import datetime
import json
from dataclasses import dataclass

import pyarrow as pa

from specter_batch.model.bundle import ModelBundle
from specter_batch.papers.labels import LabelSet
from specter_jobs.output.schema import LABEL_SCHEMA, LOGITS, PROBABILITIES
from specter_jobs.plan.config import NightConfig

# Keys of the metadata of label files, and of the fields that have a value for each label.
BUNDLE, NIGHT, LABEL_NAMES, TEMPERATURE = b"bundle", b"night", b"labels", b"temperature"


@dataclass(frozen=True, kw_only=True)
class LabelForm:
    """The columns of a night's label files, and the night that the files name.

    Attributes:
        labels: The labels of the bundle, in the order of the logits.
        temperature: The bundle's temperature, by which logits become probabilities.
        bundle: Fingerprint of the bundle.
        night: Date of the night.
        probabilities: True if the files have the probabilities of all labels.
    """

    labels: LabelSet
    temperature: float
    bundle: str
    night: datetime.date
    probabilities: bool

    @classmethod
    def of(cls, config: NightConfig, bundle: ModelBundle) -> "LabelForm":
        """Return the form of the label files that a night is going to write."""
        return cls(
            labels=bundle.labels,
            temperature=bundle.temperature,
            bundle=bundle.fingerprint,
            night=config.date,
            probabilities=config.probabilities,
        )

    def schema(self) -> pa.Schema:
        """Return the columns of a label file, with what the file says about its night as metadata."""
        names = json.dumps(list(self.labels), ensure_ascii=False).encode()
        values = pa.list_(pa.float32(), len(self.labels))
        fields = list(LABEL_SCHEMA)
        if self.probabilities:
            fields.append(pa.field(PROBABILITIES, values, metadata={LABEL_NAMES: names}))
        fields.append(pa.field(LOGITS, values, metadata={LABEL_NAMES: names}))
        metadata = {
            BUNDLE: self.bundle.encode(),
            NIGHT: self.night.isoformat().encode(),
            LABEL_NAMES: names,
            TEMPERATURE: repr(self.temperature).encode(),
        }
        return pa.schema(fields, metadata=metadata)
