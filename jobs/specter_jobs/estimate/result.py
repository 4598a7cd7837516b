"""The model of an estimate, as `estimate --json` prints it."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from specter_jobs.estimate.ranges import Range


class EstimatePart(BaseModel):
    """A part of an estimate."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SampleFigures(EstimatePart):
    """The sample that was read.

    Attributes:
        rows: Number of rows that were read.
        whole: True if these are all rows of the dump.
        usable: Number of rows that would be labelled.
        rejects_by_reason: Number of rows that would be rejected, by reason.
        unreadable: Errors of places that could not be read.
        seed: Random seed of the choice of rows.
    """

    rows: int
    whole: bool
    usable: int
    rejects_by_reason: Mapping[str, int]
    unreadable: tuple[str, ...]
    seed: int


class TokenFigures(EstimatePart):
    """Lengths of papers in tokens.

    Attributes:
        mean: Mean length.
        p50: Median length.
        p90: Length that 90 % of the papers stay under.
        p99: Length that 99 % of the papers stay under.
        max_length: Longest length that the model reads.
        cut_share: Share of the papers that are cut at that length.
        total: Tokens of all papers.
    """

    mean: float
    p50: float
    p90: float
    p99: float
    max_length: int
    cut_share: float
    total: Range


class GivenRate(EstimatePart):
    """The speed of one device, as the user gave it.

    Attributes:
        measured: False.
        device: The device.
        papers_per_second: Papers per second.
        tokens_per_second: None.
    """

    measured: Literal[False] = False
    device: str
    papers_per_second: Range
    tokens_per_second: Range | None = None


class MeasuredRate(EstimatePart):
    """The speed of one device, measured here.

    Attributes:
        measured: True.
        device: The device.
        provider: Execution provider of ONNX Runtime.
        graph: Model file.
        threads: Number of papers at once.
        papers: Number of papers that were timed.
        seconds: Time of the model.
        slices: Number of parts that were timed.
        tokens_per_second: Tokens per second.
        papers_per_second: Papers per second.
    """

    measured: Literal[True] = True
    device: str
    provider: str
    graph: str
    threads: int
    papers: int
    seconds: float
    slices: int
    tokens_per_second: Range
    papers_per_second: Range


class ReuseFigures(EstimatePart):
    """Savings by labels of earlier nights.

    Attributes:
        label_files: Number of label files that can be used.
        unusable: Labels that cannot be used, with the reasons.
        share: Share of the papers whose label can be copied.
        papers: Number of papers whose label can be copied.
        device_hours_saved: Hours of one device that they save.
        cost_saved: Cost that they save; None without a price.
    """

    label_files: int
    unusable: tuple[str, ...]
    share: Range
    papers: float
    device_hours_saved: float
    cost_saved: float | None


class FixedSeconds(EstimatePart):
    """Seconds of the steps that do not depend on the model.

    Attributes:
        survey: Time to find copies and repeated ids.
        prepare: Time to read, screen and tokenize.
        write: Time to write labels and rejects.
    """

    survey: float
    prepare: float
    write: float


class WallTime(EstimatePart):
    """The time of a night on a number of devices.

    Attributes:
        devices: Number of devices.
        seconds: Time from start to end.
        bound_by: The step that takes longest.
    """

    devices: int
    seconds: Range
    bound_by: str


class OutputSize(EstimatePart):
    """Size of a night's output in bytes.

    Attributes:
        labels: Size of the label files.
        rejects: Size of the reject files.
        bytes_a_label: Size of a label.
        label_files: Number of label files.
    """

    labels: float
    rejects: float
    bytes_a_label: float
    label_files: int


class MemoryUse(EstimatePart):
    """Memory of each part in bytes.

    Attributes:
        process_and_sessions: Libraries and the loaded model.
        shards_in_flight: Shards that are prepared or labelled at the same time.
        survey: Tables of the deduplication. Beyond their limit they are on disk.
        ledger: Entries of the finished shards.
        total: The sum.
        survey_on_disk: Disk space of the tables of the deduplication.
    """

    process_and_sessions: int
    shards_in_flight: float
    survey: int
    ledger: int
    total: float
    survey_on_disk: int


class Estimate(EstimatePart):
    """The estimate of a night.

    Attributes:
        rows: Number of rows in the dump.
        files: Number of files.
        unreadable_files: Files that cannot be read, each with its error.
        ignored_files: Other entries of the dump, each with the reason why it is not read.
        shards: Number of shards.
        sample: The sample that was read.
        papers: Number of papers to label or to copy a label for.
        tokens: Lengths of papers.
        model: Speed of one device.
        reuse: Savings by labels of earlier nights; None without `--reuse`.
        device_hours: Hours of one device.
        cost: Cost of these hours; None without a price.
        fixed_seconds: Seconds of the other steps.
        wall: Time from start to end by number of devices.
        output: Size of the night's output.
        memory: Memory of each part.
    """

    rows: int
    files: int
    unreadable_files: Mapping[str, str]
    ignored_files: Mapping[str, str]
    shards: int
    sample: SampleFigures
    papers: Range
    tokens: TokenFigures
    model: GivenRate | MeasuredRate
    reuse: ReuseFigures | None
    device_hours: Range
    cost: Range | None
    fixed_seconds: FixedSeconds
    wall: tuple[WallTime, ...]
    output: OutputSize
    memory: MemoryUse
