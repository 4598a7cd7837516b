"""The sums over papers that were labelled by their title alone."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from specter_batch.metrics.scores import Scores
from specter_batch.papers.labels import LabelSet


class TitleOnlySums(BaseModel):
    """Sums over the labelled papers that have no abstract; those of shards add up to that of the night.

    Attributes:
        label_papers: Papers by predicted label, in the bundle's order.
        score_sum: Of all of them.
        scores: `Scores.as_json`, of those with a true label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    papers: int
    label_papers: tuple[int, ...]
    score_sum: float
    scores: dict[str, Any]

    def __add__(self, other: Self) -> Self:
        scores = Scores.from_json(self.scores) + Scores.from_json(other.scores)
        return self.model_copy(
            update={
                "papers": self.papers + other.papers,
                "label_papers": tuple(a + b for a, b in zip(self.label_papers, other.label_papers, strict=True)),
                "score_sum": self.score_sum + other.score_sum,
                "scores": scores.as_json(),
            }
        )

    def as_report(self, labels: LabelSet) -> dict[str, Any]:
        """Return the part of `report.json`; papers without unseen true labels have no F1."""
        scores = Scores.from_json(self.scores).as_report(labels).model_dump()
        shares = [count / self.papers for count in self.label_papers]
        return {
            "papers": self.papers,
            "mean_score": self.score_sum / self.papers,
            "label_papers": dict(zip(labels, self.label_papers, strict=True)),
            "label_shares": dict(zip(labels, shares, strict=True)),
            **{name: scores[name] for name in ("macro_f1", "accuracy", "scored_papers", "seen_in_training")},
        }
