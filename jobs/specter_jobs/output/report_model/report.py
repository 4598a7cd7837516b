"""The model of `report.json`. It computes nothing, so that reading a report imports no code that makes one.

Increase `SCHEMA_VERSION` if a field is removed, renamed or gets another meaning. Do not change it for a new field that
readers can ignore.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from specter_batch.display import StorableText
from specter_batch.errors import ConfigError
from specter_batch.file_problems import read_json_model
from specter_batch.metrics.score_report import N_SCORE_BINS, EstimatedScores, ScoreReport
from specter_batch.storage.location import Location
from specter_jobs.output.names import REPORT_FILE
from specter_jobs.output.report_model.audit import AuditReport
from specter_jobs.output.report_model.parts import (
    Count,
    Drift,
    DumpRecords,
    GateVerdict,
    LabelsNotRead,
    PreviousReport,
    ReportPart,
    RowCounts,
    ShardCounts,
    Share,
    TitleOnlyReport,
    TokenDifferences,
)
from specter_jobs.plan.reuse_report import ReuseReport

# Reports of version 1 do not state it.
SCHEMA_VERSION = 2

Histogram = Annotated[tuple[Share, ...], Field(min_length=N_SCORE_BINS, max_length=N_SCORE_BINS)]


class SchemaVersion(ReportPart):
    """The first field of `report.json`.

    Attributes:
        schema_version: Version of these fields. Reports that do not state it are of version 1.
    """

    schema_version: int = Field(default=1, ge=1)

    @field_validator("schema_version")
    @classmethod
    def _check_version(cls, version: int) -> int:
        if version > SCHEMA_VERSION:
            raise ValueError(
                f"a later version of specter-batch wrote it (schema version {version}; this one reads up to "
                f"{SCHEMA_VERSION}); update specter-batch"
            )
        return version


class NightTotals(ScoreReport, SchemaVersion):
    """Sums over the finished shards. The scores of `ScoreReport` come first.

    Attributes:
        without_margin: Number of labels without runner-up and margin, because their night did not store them.
        without_logits: Number of labels whose logits are null, because their night did not store them.
        unknown_labels: Number of papers whose true label the model does not know; they are not scored.
        language_undecided: Number of papers that are too short to tell their language, and were kept.
        rows: Rows of the input by outcome.
        rejects_by_reason: Number of rejected rows by reason.
        label_papers: Number of papers by label.
        label_shares: Share of the papers by label.
        score_histogram: Share of the papers by score, in 15 bins of equal width.
        mean_score: Mean score of the labels; None if there are none.
        title_only: Papers that were labelled by their title alone; None if there are none.
        shards: Shards by state.
        failed_shards: Shards and files that failed, each with its error.
        ignored_inputs: Entries of the input that are not read, each with the reason.
        files: Number of input files.
        dump: Records of the dump; only with `--format`.
        bundle: Fingerprint of the bundle.
        certificate: How many labels can differ from the exact model, as a sentence; absent if nothing was certified
            for the graph that labels.
        token_differences: Shards in which the fast tokenizer gave other token ids; absent if there are none.
        estimated: Accuracy and macro F1, estimated without true labels; absent if the probabilities of all labels are
            known of no paper.
    """

    unknown_labels: Count = 0
    without_margin: Count = 0
    without_logits: Count = 0
    language_undecided: Count = 0
    rows: RowCounts
    rejects_by_reason: Mapping[str, Count]
    label_papers: Mapping[str, Count]
    label_shares: Mapping[str, Share]
    score_histogram: Histogram
    mean_score: Share | None
    title_only: TitleOnlyReport | None = None
    shards: ShardCounts
    failed_shards: Mapping[StorableText, str]
    ignored_inputs: Mapping[StorableText, str] = {}
    files: Count
    dump: DumpRecords | None = Field(default=None, exclude_if=lambda dump: dump is None)
    bundle: str
    certificate: str | None = Field(default=None, exclude_if=lambda certificate: certificate is None)
    token_differences: TokenDifferences | None = Field(default=None, exclude_if=lambda found: found is None)
    estimated: EstimatedScores | None = Field(default=None, exclude_if=lambda estimated: estimated is None)

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.label_papers.keys() != self.label_shares.keys():
            raise ValueError("label_papers and label_shares should name the same labels")
        return self

    @property
    def papers(self) -> int:
        """Number of papers with a label."""
        return sum(self.label_papers.values())

    @property
    def gap_sentences(self) -> list[str]:
        """Sentences about labels that lack values, because the night that they come from did not store them."""
        gaps = {"runner-up and margin": self.without_margin, "logits": self.without_logits}
        advice = "; to compute them, label into a new OUT without --reuse"
        return [
            f"{labels:,} labels have no {what}: they come from a night that did not store them{advice}"
            for what, labels in gaps.items()
            if labels
        ]

    @property
    def undecided_sentence(self) -> str | None:
        """Sentence about papers that are too short to detect their language; None if there are no such papers."""
        if not self.language_undecided:
            return None
        return (
            f"{self.language_undecided:,} papers have too few words to tell their language and were kept (language "
            "undecided)"
        )

    @property
    def unknown_labels_sentence(self) -> str | None:
        """Sentence about papers whose true label the model does not know; None if there are no such papers."""
        if not self.unknown_labels:
            return None
        every = self.unknown_labels + self.scored_papers + self.seen_in_training
        return (
            f"{self.unknown_labels:,} of {every:,} papers with a true label are not scored, because the model does not "
            "know their label"
        )


class NightReport(NightTotals):
    """`report.json`.

    Attributes:
        labels_not_read: True labels that cannot be read; None if all can be.
        reuse: How many papers took their label from earlier nights; None without `--reuse`.
        previous: The earlier night that `--previous` led to; None without `--previous`.
        audit: Comparison of labels with the fp32 graph; absent in reports of older versions.
        drift: Comparison with the validation data and with the earlier night.
        gates: Verdicts of the gates that are set.
    """

    labels_not_read: LabelsNotRead | None = None
    reuse: ReuseReport | None = None
    previous: PreviousReport | None = None
    audit: AuditReport | None = Field(default=None, exclude_if=lambda audit: audit is None)
    drift: Drift
    gates: tuple[GateVerdict, ...]

    @property
    def audit_sentences(self) -> list[str]:
        """What the audit found, in sentences; none for reports without an audit."""
        limit = next((gate.limit for gate in self.gates if gate.name == "max_disagreement"), None)
        return [] if self.audit is None else self.audit.sentences(limit=limit)

    @property
    def failed_gates(self) -> tuple[GateVerdict, ...]:
        """Gates that failed."""
        return tuple(gate for gate in self.gates if gate.passed is False)

    @property
    def inapplicable_gates(self) -> tuple[GateVerdict, ...]:
        """Gates that do not apply to the night."""
        return tuple(gate for gate in self.gates if gate.passed is None)

    @property
    def succeeded(self) -> bool:
        """Whether no shard and no gate failed."""
        return not self.failed_shards and not self.failed_gates


def read_report(out: Location, *, advice: str = "run the night again") -> NightReport:
    """Read a night's `report.json`.

    Args:
        out: Output folder of the night.
        advice: What to do if the file is not the report of a night, as the end of the error's message.

    Raises:
        ConfigError: The file is not the report of a night.
        FileNotFoundError: The folder has no report.
    """
    what = f"not the report of a night; {advice}"
    return read_json_model(out / REPORT_FILE, NightReport, what=what, error=ConfigError)
