"""The model of `manifest.json`: settings, versions, machine and times of a run. `report.json` has no times."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, JsonValue

from specter_jobs.output.report_model.parts import RowCounts, ShardCounts


class ManifestPart(BaseModel):
    """A part of `manifest.json`: it cannot be changed, and fields that this version does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class BundleUsed(ManifestPart):
    """The bundle of a night.

    Attributes:
        path: Its folder or URL. The URL of a bundle on the Hugging Face hub names the commit that was used.
        fingerprint: Fingerprint of its content.
        encoder: Encoder that the model was trained from.
    """

    path: str
    fingerprint: str
    encoder: str


class DeviceUsed(ManifestPart):
    """The device that the model ran on.

    Attributes:
        asked: Setting `device`.
        engine: Setting `engine`.
        workers: Number of worker processes.
        threads: Number of papers at once in a worker on a CPU.
        max_batch_tokens: Maximum tokens of a batch on CUDA at the end of the night. The value is smaller than at the
            start if memory was short; None on a CPU.
        device: Devices that the workers used.
        provider: Execution provider of ONNX Runtime.
        graph: Model file.
    """

    asked: str
    engine: str
    workers: int
    threads: int
    max_batch_tokens: int | None
    device: str
    provider: str
    graph: str


class ThisRun(ManifestPart):
    """Figures of this run, without earlier runs of the same night.

    Attributes:
        shards: Number of shards.
        papers: Number of papers that the model labelled.
        rewritten: Number of finished labels that were written again with other columns, without the model.
        seconds: Time of labelling, without reading the input before.
        papers_per_second: Papers per second; None if there are no papers.
        model_wait_share: Share of the time in which the model was idle; None if there are no papers.
        audit_seconds: Time in which the fp32 graph labelled papers for the audit, added up over the workers.
    """

    shards: int
    papers: int
    rewritten: int = 0
    seconds: float
    papers_per_second: float | None
    model_wait_share: float | None
    audit_seconds: float = 0.0


class NightManifest(ManifestPart):
    """`manifest.json`.

    Attributes:
        started: Start of the run, in UTC.
        finished: End of the run, in UTC.
        seconds: Time from start to end.
        host: Name of the machine.
        config: All settings.
        bundle: Bundle that labelled.
        device: Device that the model ran on.
        rows: Rows of the input by outcome.
        shards: Shards by state.
        this_run: Figures of this run, without earlier runs of the same night.
        ledger: Name of the file that lists the finished shards.
        versions: Versions of Python and of packages.
    """

    started: str
    finished: str
    seconds: float
    host: str
    config: Mapping[str, JsonValue]
    bundle: BundleUsed
    device: DeviceUsed
    rows: RowCounts
    shards: ShardCounts
    this_run: ThisRun
    ledger: str
    versions: Mapping[str, str]
