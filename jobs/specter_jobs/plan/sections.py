"""The settings of a night by section; each one is a key of the configuration file and an option of the commands.

The sections that hold limits are in `specter_jobs.plan.limits`.

A change in one of these two sections invalidates finished labels. A run that changes such a setting in the same OUT is
refused without `--replace`. With `--replace` it labels all papers again:

* `LabelRules`: a part of the hash that binds each shard to its night.
* `Reading`: a part of the identity of a night. The hash of a shard's rows shows whether the rows have changed.

A change of any other setting leaves finished labels as they are. A change of `LabelColumns` writes their files again.
The bundle, the device and the graph count by their hashes (`specter_jobs.plan.identity.model_hash`).
"""

import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from specter_batch.options import MAX_WORKERS, FormatName, TextColumns, TextFiles
from specter_batch.options.model import Graph, TokenizerOption
from specter_batch.options.screening import ScreeningRules
from specter_batch.settings import Settings
from specter_batch.settings.declaration import FormerName, Option
from specter_batch.storage.location import LocalPath, PathOrUrl, PathTextOrUrl

INPUT, MODEL, LABELS, REUSE, OUTPUT, CLUSTER = "Input", "Model", "Labels", "Reuse", "Output", "Cluster"


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


class NightDate(Settings):
    """The date of the night."""

    panel: ClassVar[str] = INPUT

    date: Annotated[
        datetime.date, Option(metavar="YYYY-MM-DD", default="the date in the name of OUT, else today in UTC")
    ] = Field(
        default_factory=_today,
        validate_default=True,
        ge=datetime.date(1970, 1, 1),
        description="Date of the night. It replaces {date} in every path, and {yesterday} is the day before it.",
    )


class Papers(Settings):
    """The papers to label."""

    panel: ClassVar[str] = INPUT

    dump: Annotated[PathTextOrUrl, Option(argument="DUMP")] = Field(
        description="Papers to label: a parquet file, a folder, a glob or a URL. It may be in the --config file."
    )
    shard_rows: Annotated[int, Option(unit="rows")] = Field(
        default=5000,
        ge=1,
        description="Number of input rows in a shard. If the job is killed, at most one shard of work is lost; smaller "
        "shards make more label files.",
    )


class Reading(TextFiles, TextColumns):
    """How the dump is read. The format and the column of true labels are in other sections: they change no label."""


class DumpFormat(Settings):
    """The format of a dump that is not parquet."""

    panel: ClassVar[str] = INPUT

    format: Annotated[FormatName | None, Option(metavar="FORMAT", default="parquet")] = Field(
        default=None,
        description="Format of a public dump that is not parquet. It is converted into OUT/ingested first.",
    )


class Model(Settings):
    """The model and where it runs."""

    panel: ClassVar[str] = MODEL

    bundle: Annotated[PathOrUrl, Option()] = Field(description="Model bundle that export wrote: a folder or a URL.")
    device: Annotated[str, Option(metavar="DEVICE")] = Field(
        default="auto",
        description="Where the model runs: auto, cpu, cuda, cuda:N, or cuda:all for one worker on each GPU. `auto` "
        "uses a working CUDA GPU if there is one, else the CPU. With `cuda` the command fails if there is none.",
    )
    graph: Annotated[Graph, FormerName("precision")] = None
    tokenizer: TokenizerOption = "auto"
    threads: Annotated[int | None, Option(unit="papers", default="the usable cores, shared by the workers")] = Field(
        default=None, ge=1, le=MAX_WORKERS, description="Number of papers that a worker labels at once on a CPU."
    )


class LabelRules(ScreeningRules):
    """Settings that decide which papers are labelled. A change of any of them invalidates earlier labels.

    Three things are computed from all fields of this class: the hash that binds shards to a night, the comparison of
    two runs on one folder, and the message of a refused run. A new field therefore invalidates all earlier shards.
    """

    panel: ClassVar[str] = LABELS


class LabelColumns(Settings):
    """What the label files hold. A change of these settings changes no label.

    A run that changes one in the same OUT writes the label files again from the logits in them. It asks the model only
    for papers whose logits are not stored, if the new columns need them.
    """

    panel: ClassVar[str] = LABELS

    probabilities: bool = Field(
        default=False,
        description="Write the probabilities of all labels, not only the score of the best one. Files get larger.",
    )
    top_k: Annotated[int, Option(unit="labels", default="not written")] = Field(
        default=0,
        ge=0,
        description="Write this number of labels for each paper, the most likely first, and their scores.",
    )
    embeddings: bool = Field(
        default=False,
        description="Write the vector of each paper as the column `embedding`, for search and clustering. It comes "
        "from the pass that labels the paper. 768 numbers of float16 take about 1,500 bytes.",
    )
    keep_columns: Annotated[tuple[str, ...], Option(metavar="NAME,NAME", separator=",", default="none")] = Field(
        default=(),
        description="Columns of the input to copy into the label files. Columns from folder names are always copied.",
    )
    stamp: bool = Field(
        default=False,
        description="Write the bundle's fingerprint and the night's date as columns, not only as parquet metadata.",
    )
    logits: bool = Field(
        default=True,
        description="Store the logits, from which later runs compute other columns without the model. Without them "
        "files are smaller.",
    )

    @field_validator("keep_columns", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """Take one text, with commas between names, as several names. The names in a list are taken as they are."""
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        if isinstance(names, (list, tuple)) and "" in names:
            raise ValueError("a name is empty; give the names of columns with commas between them, such as year,doi")
        return names

    @property
    def needs_probabilities(self) -> bool:
        """Whether the columns cannot be written for papers of which only label and score are known."""
        return self.probabilities or self.top_k > 0


class Audit(Settings):
    """How many fresh labels are compared with the fp32 graph. A change of this setting changes no label."""

    panel: ClassVar[str] = LABELS

    audit_share: Annotated[
        Annotated[float, Field(ge=0, le=1)] | None,
        Option(default="0.002, or 0.0011 with fp16, and at least 50 papers, or fewer with --reuse"),
    ] = Field(
        default=None,
        description="Share of the papers labelled tonight, 0 to 1, that the exact fp32 graph labels too, to measure "
        "how many labels differ. It changes no label. 0 turns the audit off.",
    )


class ReusedNights(Settings):
    """Labels of earlier nights."""

    panel: ClassVar[str] = REUSE

    reuse: Annotated[tuple[PathOrUrl, ...], Option(default="none")] = Field(
        default=(),
        description="OUT of an earlier night. A text that the same model labelled there is not labelled again.",
    )


class Output(Settings):
    """Where results go."""

    panel: ClassVar[str] = OUTPUT

    out: Annotated[PathOrUrl, Option(argument="OUT")] = Field(
        description="Folder or URL for labels, rejects and reports. It may be in the --config file."
    )
    replace: Annotated[bool, Option(negative=False)] = Field(
        default=False,
        description="Replace the finished labels of another night in OUT, once the new ones are complete. Without this "
        "option such a night is refused.",
    )
    max_failed_shards: Annotated[int, Option(unit="shards")] = Field(
        default=100, ge=0, description="Stop early once more than this many shards have failed."
    )
    metrics_file: Annotated[LocalPath | None, Option(default="none is written")] = Field(
        default=None,
        description="Prometheus text file to write at the end, for the textfile collector of node_exporter.",
    )


class Cluster(Settings):
    """The processes that label papers."""

    panel: ClassVar[str] = CLUSTER

    engine: Literal["local", "ray"] = Field(
        default="local", description="Where workers run: on this machine, or on a Ray cluster."
    )
    ray_address: Annotated[str | None, Option(metavar="ADDRESS", default="a cluster is started on this machine")] = (
        Field(default=None, description="Address of a running Ray cluster, for example auto or ray://head:10001.")
    )
    workers: Annotated[
        int | None, Option(unit="processes", default="1 on the CPUs or on each GPU; on Ray as many as fit there")
    ] = Field(
        default=None,
        ge=1,
        le=MAX_WORKERS,
        description="Number of worker processes, each with its own copy of the model. Each prepares its own papers, so "
        "several workers can supply a fast GPU. On one machine, give a multiple of the number of GPUs.",
    )
