"""The columns of a night's label files, and the metadata about the night in these files."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from specter_batch.errors import ConfigError
from specter_batch.papers.labels import LabelSet
from specter_batch.storage.files import json_hash
from specter_jobs.output.schema import (
    EMBEDDING,
    LABEL_SCHEMA,
    LOGITS,
    OWN_NAMES,
    PROBABILITIES,
    STAMPED_BUNDLE,
    STAMPED_NIGHT,
    TOP_LABELS,
    TOP_SCORES,
    vector_type,
)
from specter_jobs.plan.sections import LabelColumns

# Keys of the metadata of label files, and of the fields that have a value for each label. `temperature` is what the
# logits in the file must be divided by: 1 if the graph did so, which it does since bundle format 2.
BUNDLE, NIGHT, LABEL_NAMES, TEMPERATURE = b"bundle", b"night", b"labels", b"temperature"


@dataclass(frozen=True, kw_only=True)
class LabelForm:
    """The columns of a night's label files, and the night that the files name.

    Attributes:
        labels: The labels of the bundle, in the order of the logits.
        logit_divisor: What the logits are divided by before a softmax turns them into probabilities.
        bundle: Fingerprint of the bundle.
        night: Date of the night.
        columns: The settings that choose the columns.
        kept: Columns of the input that the files keep, with their types.
        partitions: Columns from the names of folders that the files keep.
        embedding_size: Length of the vectors in the files; None if they have none.

    Raises:
        ConfigError: `top_k` is larger than the number of labels of the model.
    """

    labels: LabelSet
    logit_divisor: float
    bundle: str
    night: datetime.date
    columns: LabelColumns
    kept: pa.Schema
    partitions: tuple[str, ...]
    embedding_size: int | None = None

    def __post_init__(self) -> None:
        if self.columns.top_k > len(self.labels):
            raise ConfigError(
                f"--top-k {self.columns.top_k}: the bundle has only {len(self.labels)} labels; give --top-k "
                f"{len(self.labels)} or less"
            )

    @cached_property
    def input_names(self) -> Mapping[str, str]:
        """Name of each kept column and partition -> its name in the label files, `input_NAME` if NAME is taken.

        Many engines ignore the case of names, so `Label` is taken as well.
        """
        names: dict[str, str] = {}
        taken = {name.casefold() for name in OWN_NAMES}
        for name in (*self.kept.names, *self.partitions):
            written = name
            while written.casefold() in taken:
                written = f"input_{written}"
            names[name] = written
            taken.add(written.casefold())
        return names

    def hash(self, kept: str) -> str:
        """Return a hash of all that decides about the columns of a shard's label file, beside its labels.

        Args:
            kept: Hash of the values of the shard's kept columns.
        """
        inputs = {name: str(self.schema.field(written).type) for name, written in self.input_names.items()}
        settings = self.columns.model_dump(mode="json") | {"night": self.night.isoformat()}
        return json_hash({**settings, "version": FORM_VERSION, "inputs": list(inputs.items()), "kept": kept})

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of a label file, with what the file says about its night as metadata."""
        names = json.dumps(list(self.labels), ensure_ascii=False).encode()
        values = pa.list_(pa.float32(), len(self.labels))
        fields = list(LABEL_SCHEMA)
        if self.columns.probabilities:
            fields.append(pa.field(PROBABILITIES, values, metadata={LABEL_NAMES: names}))
        if self.columns.top_k:
            fields += [pa.field(TOP_LABELS, pa.list_(pa.string())), pa.field(TOP_SCORES, pa.list_(pa.float64()))]
        if self.embedding_size is not None:
            fields.append(pa.field(EMBEDDING, vector_type(self.embedding_size)))
        fields += [self.kept.field(name).with_name(self.input_names[name]) for name in self.kept.names]
        fields += [pa.field(self.input_names[name], pa.string()) for name in self.partitions]
        if self.columns.stamp:
            fields += [pa.field(STAMPED_BUNDLE, pa.string()), pa.field(STAMPED_NIGHT, pa.date32())]
        if self.columns.logits:
            fields.append(pa.field(LOGITS, values, metadata={LABEL_NAMES: names}))
        metadata = {
            BUNDLE: self.bundle.encode(),
            NIGHT: self.night.isoformat().encode(),
            LABEL_NAMES: names,
            TEMPERATURE: repr(self.logit_divisor).encode(),
        }
        return pa.schema(fields, metadata=metadata)


# Raised when the same settings give other columns, or other values in them, than an earlier version wrote.
FORM_VERSION = 1
