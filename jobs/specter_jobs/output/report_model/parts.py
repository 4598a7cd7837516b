"""The parts of `report.json`."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from specter_batch.display import StorableText

Count = Annotated[int, Field(ge=0)]
# Sums of shares may exceed 1 by rounding.
Share = Annotated[float, Field(ge=0, le=1 + 1e-6, allow_inf_nan=False)]
# By the common rule of Siddiqi 2006, a PSI below the first value means no change worth a look. Above the second value
# the change is large.
PSI_NOTABLE, PSI_LARGE = 0.1, 0.25
# How reports name the two sides of the comparison.
SIDE_TITLES = {"reference": "validation data", "previous": "previous night"}
# How many drifting labels a sentence names.
NAMED_CHANGES = 5


class ReportPart(BaseModel):
    """A part of `report.json`: it cannot be changed, and fields that this version does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, serialize_by_alias=True)


class RowCounts(ReportPart):
    """Rows of the input by outcome.

    Attributes:
        rows_in: Number of rows in the input; `in` in JSON.
        labelled: Number of rows that the model labelled.
        reused: Number of rows whose label was copied.
        rejected: Number of rows that were rejected with a reason.
        failed: Number of rows in shards that failed.
    """

    model_config = ConfigDict(strict=True)

    rows_in: Count = Field(validation_alias="in", serialization_alias="in")
    labelled: Count
    reused: Count
    rejected: Count
    failed: Count

    @property
    def reject_rate(self) -> float | None:
        """The share of the finished shards' rows that were rejected; None if there are none."""
        finished = self.rows_in - self.failed
        return self.rejected / finished if finished > 0 else None

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Number of rows by outcome, which together are all rows of the input."""
        return {name: getattr(self, name) for name in ("labelled", "reused", "rejected", "failed")}


class ShardCounts(ReportPart):
    """Shards by state.

    Attributes:
        planned: Number of shards that the input was cut into.
        finished: Number of shards whose labels are complete.
        failed: Number of shards and files that failed.
    """

    planned: Count
    finished: Count
    failed: Count


class TokenDifferences(ReportPart):
    """Shards in which the fast tokenizer gave other token ids than `tokenizers`, which then made the ids.

    Attributes:
        shards: Number of these shards.
        texts: Number of compared texts that got other ids.
    """

    shards: Count
    texts: Count

    def sentences(self) -> list[str]:
        """What happened, and what to do, in sentences."""
        shards = "1 shard" if self.shards == 1 else f"{self.shards:,} shards"
        return [
            f"nanotoken gave other token ids than tokenizers: for {self.texts:,} of the texts that were compared, in "
            f"{shards}",
            "tokenizers made all ids of such a shard, and of all shards that the same process labelled after it. In "
            "the shards before it, the compared texts had equal ids",
            "To let tokenizers make the ids of every paper, use --tokenizer tokenizers, a new OUT, and no --reuse",
        ]


class TitleOnlyReport(ReportPart):
    """Papers that were labelled by their title alone.

    Attributes:
        papers: Number of papers.
        mean_score: Mean score of their labels.
        label_papers: Number of papers by label.
        label_shares: Share of these papers by label.
        macro_f1: Macro F1 of the scored papers; None if no paper is scored.
        accuracy: Share of the scored papers whose label is right; None if no paper is scored.
        scored_papers: Number of papers with a true label that were not trained on.
        seen_in_training: Number of papers with a true label that were trained on.
    """

    papers: Count
    mean_score: float
    label_papers: Mapping[str, Count]
    label_shares: Mapping[str, Share]
    macro_f1: float | None
    accuracy: float | None
    scored_papers: Count
    seen_in_training: Count


class DumpRecords(ReportPart):
    """Records of the dump that was ingested (`--format`). Rejected records are among the rejected rows.

    Attributes:
        records: Number of records that were read.
        papers: Number of records that became papers.
        filtered: Number of records that the user did not ask for.
        tombstones: Number of records that withdraw others.
    """

    records: Count
    papers: Count
    filtered: Count
    tombstones: Count


class LabelsNotRead(ReportPart):
    """True labels that came with the input and cannot be read.

    Attributes:
        files: Number of files whose label column cannot be read.
        papers: Number of papers that have no true label because of this problem.
        first: The first problem.
    """

    files: Count
    papers: Count
    first: str

    def __str__(self) -> str:
        return (
            f"{self.papers:,} papers have a label that cannot be read and count as papers without a true label "
            f"({self.first}); --label-column none reads no labels"
        )


class PreviousReport(ReportPart):
    """The earlier night that `--previous` led to.

    Attributes:
        asked: The place that `--previous` names.
        used: Night that was used for the comparison; None if no night was found.
        passed_over: Nearer nights that exist and were not used, each with the reason.
    """

    asked: str
    used: str | None
    passed_over: Mapping[StorableText, str]

    def __str__(self) -> str:
        taken = f"The previous night is {self.used}" if self.used else "There is no previous night to compare with"
        passed_over = [f"{night} was passed over because {why}" for night, why in self.passed_over.items()]
        return "; ".join([taken, *passed_over])


class LabelChange(ReportPart):
    """How the share of one label differs from what the night is compared with.

    Attributes:
        label: Name of the label.
        before: Share of papers with the label on the other side.
        now: Share of papers with the label in the night.
        psi: The label's part of the population stability index. The parts of all labels add up to the index.
    """

    label: str
    before: Share
    now: Share
    psi: float

    def __str__(self) -> str:
        return f"{self.label} {self.before:.1%} → {self.now:.1%}"


class DriftSide(ReportPart):
    """The difference between the night and one thing that it is compared with.

    Attributes:
        papers: Number of labelled papers on the other side.
        psi: Population stability index of the label shares. It is None if one side has no paper, and so is
            `js_distance`.
        psi_by_chance: PSI that 95 of 100 nights stay below if nothing has changed.
        js_distance: Jensen-Shannon distance of the label shares, 0 to 1.
        mean_score: Mean score on the other side.
        mean_score_change: Mean score of the night minus the mean score of the other side.
        reject_rate: Share of rejected rows on the other side; None for validation data.
        reject_rate_change: Reject rate of the night minus the reject rate of the other side.
        label_shares: Share of papers by label on the other side.
        score_histogram: Share of papers by score bin on the other side.
        label_changes: Labels that add most to the population stability index, the largest part first; absent if there
            are none.
    """

    papers: Count
    psi: float | None
    psi_by_chance: float | None
    js_distance: float | None
    mean_score: float | None
    mean_score_change: float | None
    reject_rate: float | None
    reject_rate_change: float | None
    label_shares: Mapping[str, float]
    score_histogram: tuple[float, ...]
    label_changes: tuple[LabelChange, ...] = Field(default=(), exclude_if=lambda changes: not changes)

    @property
    def notable_psi(self) -> float:
        """The PSI above which the label shares have changed: more than by chance, and enough to be worth a look."""
        return max(self.psi_by_chance or 0.0, PSI_NOTABLE)

    @property
    def drifts(self) -> bool:
        """Whether the label shares have changed by more than `notable_psi`."""
        return self.psi is not None and self.psi > self.notable_psi


class Drift(ReportPart):
    """Comparisons of the night.

    Attributes:
        reference: Comparison with the bundle's validation data.
        previous: Comparison with an earlier night; None without an earlier night.
    """

    reference: DriftSide
    previous: DriftSide | None

    @property
    def sides(self) -> Mapping[str, DriftSide]:
        """The comparisons that there are, by name."""
        sides = {"reference": self.reference, "previous": self.previous}
        return {name: side for name, side in sides.items() if side is not None}

    def sentences(self) -> list[str]:
        """Name the labels that have drifted, in one sentence per comparison; none if no comparison shows drift."""
        return [
            f"Label shares have drifted from the {SIDE_TITLES[name]}: PSI {side.psi:.4f}, where chance alone stays "
            f"under {side.psi_by_chance or 0:.4f}. The largest changes: "
            + ", ".join(str(change) for change in side.label_changes[:NAMED_CHANGES])
            for name, side in self.sides.items()
            if side.drifts
        ]


class GateVerdict(ReportPart):
    """The verdict of a gate.

    Attributes:
        name: Name of the gate.
        limit: Limit that was set.
        found: Figure of the night; None if it cannot be computed (see `reason`).
        passed: True if the gate passed, false if it failed; None if it does not apply, because there is nothing to
            compare with.
        reason: Reason why there is no figure.
    """

    name: str
    limit: int | float
    found: int | float | None
    passed: bool | None
    reason: str | None = None

    def __str__(self) -> str:
        verdict = "not applicable" if self.passed is None else "passed" if self.passed else "failed"
        found = self.reason if self.found is None else f"found {number(self.found)}"
        return f"{self.name} {number(self.limit)}: {verdict}, {found}"


def number(value: float) -> str:
    """Return a count in full and any other number with four decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
