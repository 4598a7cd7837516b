"""What is read back from the report of a night, checked before anything relies on it."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from specter_batch.metrics import N_SCORE_BINS

Count = Annotated[int, Field(ge=0)]
# Sums of shares may exceed 1 by rounding.
Share = Annotated[float, Field(ge=0, le=1 + 1e-6, allow_inf_nan=False)]

REPORT_FILE = "report.json"


class RowCounts(BaseModel):
    """Rows of a night by what became of them.

    Attributes:
        rows_in: Rows of the input.
        rejected: Rows that were rejected with a reason.
        failed: Rows of shards that could not be done.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows_in: Count = Field(alias="in")
    rejected: Count
    failed: Count

    @property
    def reject_rate(self) -> float | None:
        """The share of the finished shards' rows that were rejected; None when there were none."""
        finished = self.rows_in - self.failed
        return self.rejected / finished if finished > 0 else None


class _Outcomes(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    rows_in: Count = Field(alias="in")
    labelled: Count
    reused: Count
    rejected: Count
    failed: Count


class _GateOutcome(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    name: str
    passed: bool | None


class NightAccount(BaseModel):
    """The part of `report.json` that `verify` compares with the ledger.

    Attributes:
        rows: Rows by outcome.
        rejects_by_reason: Rejected rows by reason.
        labels: Label names in order.
        label_papers: Papers by label.
        failed_shards: Shard or file name -> error.
        gates: Gates and whether they passed.
    """

    model_config = ConfigDict(extra="ignore", strict=True)

    rows: _Outcomes
    rejects_by_reason: dict[str, Count]
    labels: list[str]
    label_papers: dict[str, Count]
    failed_shards: dict[str, str]
    gates: list[_GateOutcome]


class NightFigures(BaseModel):
    """The part of an earlier night's `report.json` that tonight is compared with.

    Attributes:
        rows: Rows by outcome.
        label_papers: Papers by label.
        label_shares: Share of the papers by label.
        score_histogram: Share of the papers by score, in `N_SCORE_BINS` bins.
        mean_score: Mean score of the labels; None when there are none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: RowCounts
    label_papers: dict[str, Count]
    label_shares: dict[str, Share]
    score_histogram: Annotated[tuple[Share, ...], Field(min_length=N_SCORE_BINS, max_length=N_SCORE_BINS)]
    mean_score: Share | None

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.label_papers.keys() != self.label_shares.keys():
            raise ValueError("label_papers and label_shares should name the same labels")
        return self

    @property
    def papers(self) -> int:
        """Papers with a label."""
        return sum(self.label_papers.values())
