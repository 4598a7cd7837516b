"""What is read back from the report of a night, checked before anything relies on it."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from specter_batch.errors import ConfigError
from specter_batch.file_problems import read_json_model
from specter_batch.metrics.f1 import N_SCORE_BINS
from specter_batch.storage.location import Location
from specter_jobs.output.names import REPORT_FILE

Count = Annotated[int, Field(ge=0)]
# Sums of shares may exceed 1 by rounding.
Share = Annotated[float, Field(ge=0, le=1 + 1e-6, allow_inf_nan=False)]


class RowCounts(BaseModel):
    """Rows of a night by what became of them.

    Attributes:
        rows_in: Rows of the input.
        rejected: Rows that were rejected with a reason.
        failed: Rows of shards that could not be done.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    rows_in: Count = Field(alias="in")
    rejected: Count
    failed: Count

    @property
    def reject_rate(self) -> float | None:
        """The share of the finished shards' rows that were rejected; None when there were none."""
        finished = self.rows_in - self.failed
        return self.rejected / finished if finished > 0 else None


class AllRows(RowCounts):
    """All counts of rows.

    Attributes:
        labelled: Rows that the model labelled.
        reused: Rows whose label was copied.
    """

    labelled: Count
    reused: Count


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


class GateVerdict(BaseModel):
    """A gate of `report.json`.

    Attributes:
        name: Name of the gate.
        limit: Its limit.
        found: What the night has; None where there is nothing to judge.
        passed: None when the gate does not apply to the night.
        reason: Why it was not judged, or None.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    limit: int | float
    found: int | float | None
    passed: bool | None
    reason: str | None = None


class NightReport(BaseModel):
    """The part of `report.json` that `status` and `verify` rely on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: AllRows
    rejects_by_reason: dict[str, Count]
    labels: tuple[str, ...]
    label_papers: dict[str, Count]
    failed_shards: dict[str, str]
    gates: tuple[GateVerdict, ...]
    macro_f1: float | None
    scored_papers: Count
    seen_in_training: Count
    unknown_labels: Count = 0


def read_report(out: Location) -> dict[str, Any]:
    """Read what `NightReport` holds of a night's `report.json`, under the names of the file.

    Raises:
        ConfigError: The file is not the report of a night.
        FileNotFoundError: There is none.
    """
    what = "not the report of a night; run the night again"
    report = read_json_model(out / REPORT_FILE, NightReport, what=what, error=ConfigError)
    return report.model_dump(by_alias=True)
