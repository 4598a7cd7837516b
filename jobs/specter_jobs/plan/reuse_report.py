"""The part of `report.json` about labels that are copied from earlier nights."""

from pydantic import BaseModel, ConfigDict


class UnusableLabels(BaseModel):
    """Labels of an earlier night that cannot be taken.

    Attributes:
        night: Folder of the earlier night.
        labels: Number of labels.
        reason: Why they cannot be taken.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    night: str
    labels: int
    reason: str

    def __str__(self) -> str:
        what = f"{self.labels:,} labels of {self.night}" if self.labels else self.night
        return f"{what} cannot be reused: {self.reason}"


class ReuseReport(BaseModel):
    """The papers of a night by where their label comes from, before languages are checked.

    Attributes:
        papers: Number of papers that have an id, a title and an abstract, without repeated ids.
        reusable: Number of papers whose text was labelled in an earlier night.
        copies: Number of papers whose text is in this night more than once.
        fresh: Number of papers that the model has to label.
        unusable: Labels of earlier nights that cannot be taken.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    papers: int
    reusable: int
    copies: int
    fresh: int
    unusable: tuple[UnusableLabels, ...]

    def sentences(self) -> list[str]:
        """Return sentences about how many labels are copied from earlier nights, and why others cannot be copied."""
        others = ": their text is in none of the labels that can be reused" if self.fresh else ""
        copies = f", {self.copies:,} are copies of papers of this night" if self.copies else ""
        return [
            f"{self.reusable:,} of {self.papers:,} papers can take their label from an earlier night{copies}, "
            f"{self.fresh:,} cannot{others}",
            *map(str, self.unusable),
        ]
