"""The entries of the ledger: what a finished shard was made of, and what came out."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from specter_batch.metrics.expected_sums import ExpectedSums
from specter_batch.metrics.score_report import N_SCORE_BINS
from specter_batch.metrics.scores import Scores
from specter_jobs.output.names import OutputFile
from specter_jobs.output.report_model.audit import AuditCounts
from specter_jobs.output.title_only import TitleOnlySums


class LedgerEntry(BaseModel):
    """A finished shard: what it was made of, what came out, and the sums for the report.

    Attributes:
        form: Hash of what decides about the columns of the label file (`LabelForm.hash`); None for older versions.
        without_margin: Number of papers whose runner-up and margin are not known.
        without_logits: Number of papers whose logits are not known; 0 if the label file should have none.
        audit: What the fp32 graph said about some of the papers; None if the shard was labelled without an audit.
        token_differences: Number of compared texts to which the fast tokenizer gave other ids. If there are any, all
            ids of the shard are those of `tokenizers`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard: str
    file: str
    start: int
    rows: int
    content: str
    binding: str
    form: str | None = None
    model: str
    labels: OutputFile
    reused: int
    without_margin: int = 0
    without_logits: int = 0
    rejects: OutputFile | None
    rejects_by_reason: dict[str, int]
    scores: dict[str, Any]
    unknown_labels: int
    language_undecided: int = 0
    label_papers: list[int]
    bin_papers: list[int]
    score_sum: float
    expected: ExpectedSums | None = None
    title_only: TitleOnlySums | None = None
    audit: AuditCounts | None = None
    token_differences: int = Field(default=0, ge=0, exclude_if=lambda differences: differences == 0)
    seconds: float
    model_seconds: float = 0.0

    @property
    def files(self) -> list[OutputFile]:
        """The files of the shard."""
        return [self.labels] + ([self.rejects] if self.rejects else [])

    @property
    def rejected(self) -> int:
        """Rows that were not labelled."""
        return sum(self.rejects_by_reason.values())

    @property
    def model_wait_share(self) -> float | None:
        """Share of the shard's time in which the model was idle; None if the model had no papers to label."""
        asked = self.labels.rows > self.reused
        return max(1 - self.model_seconds / self.seconds, 0.0) if asked and self.seconds else None

    @property
    def adds_up(self) -> bool:
        """Whether the sums can be those of the files; an entry that was edited by hand seldom passes."""
        n_labels, labelled = len(self.label_papers), self.labels.rows
        parts = [(labelled, self.label_papers, self.score_sum, self.scores)]
        if self.title_only is not None:
            part = self.title_only
            parts.append((part.papers, list(part.label_papers), part.score_sum, part.scores))
        return (
            labelled + self.rejected == self.rows
            and self.rejected == (self.rejects.rows if self.rejects else 0)
            and 0 <= self.reused <= labelled
            and 0 <= self.without_margin <= labelled
            and 0 <= self.without_logits <= labelled
            and 0 <= self.unknown_labels <= labelled
            and sum(self.bin_papers) == labelled
            and len(self.bin_papers) == N_SCORE_BINS
            and (self.audit is None or self.audit.fits(fresh=labelled - self.reused))
            and (self.expected is None or self.expected.fits(self.label_papers))
            and all(
                0 <= papers <= labelled
                and len(by_label) == n_labels
                and sum(by_label) == papers
                and min(by_label, default=0) >= 0
                and 0 <= score_sum <= papers + 1e-6
                and Scores.fits(scores, n_labels=n_labels, papers=papers)
                for papers, by_label, score_sum, scores in parts
            )
        )

    def tallies(self) -> Scores:
        """Return the shard's scores."""
        return Scores.from_json(self.scores)
