"""The part of `report.json` about the audit: labels of the night compared with labels of the fp32 graph."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from specter_batch.display import StorableText
from specter_batch.graph_names import Precision

# A paper is clear if its best label is at least this many times as probable as the second. Among 9,000 unseen arXiv
# papers (docs/audit.md), int8 changed 35 labels that it did not defer, all of papers below 1.34 times. It changed no
# ratio of two probabilities by more than 1.62 times.
CLEAR_RATIO = 2.0
# How many papers with another label a shard and a report list.
MAX_SHOWN = 20
# A count that float64 holds exactly: bounds are computed from it.
Count = Annotated[int, Field(ge=0, le=2**53)]


class AuditPart(BaseModel):
    """A part of the audit: it cannot be changed, and fields that this version does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AuditedPaper(AuditPart):
    """A paper whose label differs from the label of the fp32 graph.

    Attributes:
        paper_id: Id of the paper.
        file: Input file of the paper.
        row: Row of the paper in this file.
        label: Label that the night wrote.
        exact_label: Label of the fp32 graph; null if it gave NaN or infinity.
    """

    paper_id: StorableText
    file: StorableText
    row: int
    label: str
    exact_label: str | None


class AuditCounts(AuditPart):
    """The audited papers of a shard, of a night, or of several nights.

    Attributes:
        papers: Number of papers that were chosen at random among those that the model labelled.
        deferred: Number of these papers that were too close to call, so that their label came from the fp32 graph.
        disagreements: Number of these papers whose label differs from the label of the fp32 graph.
        clear_papers: Number of these papers whose best label is at least twice as probable as the second.
        clear_disagreements: Number of the clear papers whose label differs.
        shown: The first of the papers whose label differs.
    """

    papers: NonNegativeInt
    deferred: NonNegativeInt
    disagreements: NonNegativeInt
    clear_papers: NonNegativeInt
    clear_disagreements: NonNegativeInt
    shown: tuple[AuditedPaper, ...] = ()

    @classmethod
    def total(cls, parts: Iterable["AuditCounts"]) -> "AuditCounts":
        """Add up audits."""
        held = list(parts)
        counts = {
            name: sum(getattr(part, name) for part in held)
            for name in ("papers", "deferred", "disagreements", "clear_papers", "clear_disagreements")
        }
        return cls(**counts, shown=tuple(paper for part in held for paper in part.shown)[:MAX_SHOWN])

    def fits(self, *, fresh: int) -> bool:
        """Return whether the counts can be those of a shard in which the model labelled `fresh` papers."""
        return (
            self.deferred + self.disagreements <= self.papers <= fresh
            and self.clear_disagreements <= min(self.clear_papers, self.disagreements)
            and self.clear_papers + self.deferred <= self.papers
            and len(self.shown) == min(self.disagreements, MAX_SHOWN)
        )


class AuditedNight(AuditPart):
    """The audit of one night.

    Attributes:
        date: Date of the night.
        papers: Number of papers that were compared.
        disagreements: Number of these papers whose label differs.
        clear_papers: Number of these papers that are clear.
        clear_disagreements: Number of the clear papers whose label differs.
    """

    date: str
    papers: Count
    disagreements: Count
    clear_papers: Count
    clear_disagreements: Count

    @model_validator(mode="after")
    def _counts_agree(self) -> "AuditedNight":
        if self.disagreements > self.papers or self.clear_disagreements > self.clear_papers:
            raise ValueError(f"more papers with another label than papers in the night of {self.date}")
        return self


class AuditedRate(AuditPart):
    """How many labels differ, over all nights of the series.

    Attributes:
        papers: Number of papers that were compared.
        disagreements: Number of these papers whose label differs.
        low: Lower bound of the share of labels that differ, in at least one of the nights.
        high: Upper bound of this share, in at least one of the nights. If the share has risen, it can be below `low`.
        level: Probability that a bound is right after every night of the series.
    """

    papers: NonNegativeInt
    disagreements: NonNegativeInt
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        share = f" ({self.disagreements / self.papers:.2%})" if self.papers else ""
        return f"{self.disagreements:,} of {self.papers:,}{share}"

    @property
    def bounds(self) -> str:
        """The two bounds in words."""
        if self.low > self.high:
            return (
                f"with {self.level:.0%} confidence the share has risen: it was below {self.high:.2%} in some nights "
                f"and above {self.low:.2%} in others"
            )
        least = f"at least {self.low:.2%} and " if self.low > 0 else ""
        return f"with {self.level:.0%} confidence the share is {least}at most {self.high:.2%}"


class AuditSeries(AuditPart):
    """The audits of the nights that one model labelled, each night found by `--previous` of the next one.

    Attributes:
        model: Hash of the bundle, the kind of device and the graph.
        nights: The nights in which papers were compared, the earliest first.
        every: How many labels differ.
        clear: How many labels of clear papers differ. Their best label is at least twice as probable as the second.
        begins: Why the series has no earlier nights.
    """

    model: str
    nights: tuple[AuditedNight, ...]
    every: AuditedRate
    clear: AuditedRate
    begins: str

    @property
    def span(self) -> str:
        """The number of nights, and the date of the first one."""
        n = len(self.nights)
        return f"{n:,} nights since {self.nights[0].date}" if n > 1 else "one night"


class AuditReport(AuditPart):
    """The audit of a night.

    Attributes:
        graph: Precision of the graph that labels.
        tonight: The audited papers of this night.
        without_audit: Number of papers that the model labelled in shards that were finished without an audit.
        not_audited: Why no paper is compared tonight; None if papers are compared.
        series: The audits of all nights of this model.
    """

    graph: Precision
    tonight: AuditCounts
    without_audit: NonNegativeInt
    not_audited: str | None
    series: AuditSeries

    def sentences(self, *, limit: float | None) -> list[str]:
        """Return what the audit found.

        Args:
            limit: Limit of the gate `max_disagreement`; None without a limit.
        """
        return [*self._tonight(), *self._series(limit)]

    def _tonight(self) -> list[str]:
        if self.not_audited is not None:
            return [f"No label of tonight was compared with the exact model (fp32), because {self.not_audited}"]
        found = self.tonight
        lines = [
            f"Tonight {found.papers:,} papers, chosen at random among those that the {self.graph} graph labelled, were "
            f"compared with the exact model (fp32). Papers with another label: {found.disagreements:,}"
        ]
        if found.deferred:
            lines[0] += f". Papers that were too close to call and had its label already: {found.deferred:,}"
        if self.without_audit:
            lines.append(f"{self.without_audit:,} papers were labelled in earlier runs of this night without an audit")
        return lines

    def _series(self, limit: float | None) -> list[str]:
        series = self.series
        if not series.every.papers:
            return []
        lines = [f"Papers with another label over {series.span} of this model: {series.every}; {series.every.bounds}"]
        if limit is not None and series.every.low <= series.every.high < limit:
            lines[0] += f", which is below the limit of {limit:.2%}"
        if series.clear.papers:
            lines.append(
                "Among them, clear papers (the best label is at least twice as probable as the second): "
                f"{series.clear}; {series.clear.bounds}"
            )
        lines.append(f"The series begins with the night of {series.nights[0].date}, because {series.begins}")
        return lines
