"""The sums over papers that were labelled by their title alone."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from specter_batch.metrics.scores import Scores


class TitleOnlySums(BaseModel):
    """Sums over the labelled papers that have no abstract. The sums of all shards add up to the sums of the night.

    Attributes:
        label_papers: Number of papers by predicted label, in the bundle's order.
        score_sum: Sum of the scores of all these papers.
        scores: `Scores.as_json` of the papers with a true label.
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
