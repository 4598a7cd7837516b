"""The model of the scores in the reports of `evaluate` and `classify`. It only declares fields."""

from pydantic import BaseModel, ConfigDict, Field

# Fifteen bins of equal width, as for the calibration error in Guo et al. 2017 (https://arxiv.org/abs/1706.04599).
N_SCORE_BINS = 15
# What a reader of an estimate has to know.
CAVEAT = (
    "This is an estimate from the calibrated probabilities, not a measurement. It holds for papers like the validation "
    "papers. For papers of another kind it can be far off"
)


class LabelF1(BaseModel):
    """Precision, recall and F1 of one label.

    Attributes:
        label: Name of the label.
        precision: Share of the papers predicted to have the label that truly have it.
        recall: Share of the papers that truly have the label for which it was predicted.
        f1: Harmonic mean of precision and recall.
        support: Number of papers that truly have the label.
        predicted: Number of papers predicted to have the label.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


class ReliabilityBin(BaseModel):
    """A point of a reliability diagram: the papers whose score is in one bin.

    Attributes:
        start: Lowest score of the bin; `from` in JSON.
        end: Upper end of the bin, which belongs to the next bin; `to` in JSON.
        papers: Number of papers in the bin.
        accuracy: Share of the papers whose label is right; None for a bin without papers.
        mean_score: Mean score of the papers; None for a bin without papers.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, serialize_by_alias=True)

    start: float = Field(validation_alias="from", serialization_alias="from")
    end: float = Field(validation_alias="to", serialization_alias="to")
    papers: int
    accuracy: float | None
    mean_score: float | None


class ScoreReport(BaseModel):
    """Scores of labelled papers. Papers that the model was trained on only count in fields that end in `_with_seen`.

    Attributes:
        macro_f1: Mean F1 over the labels that occur among the true or predicted labels; None if no paper is scored.
        micro_f1: Micro F1, which is the accuracy because a paper has one label.
        weighted_f1: Mean F1, weighted by the number of papers that truly have the label.
        accuracy: Share of the papers whose label is right.
        expected_calibration_error: Mean distance between score and accuracy (Guo et al. 2017).
        scored_papers: Number of papers with a true label that were not trained on.
        seen_in_training: Number of papers with a true label that were trained on.
        macro_f1_with_seen: Macro F1 with the papers that were trained on.
        weighted_f1_with_seen: Weighted F1 with the papers that were trained on.
        accuracy_with_seen: Accuracy with the papers that were trained on.
        per_label: Scores of each label, in the order of `labels`.
        confusion: Number of papers by true label (rows) and predicted label (columns).
        reliability: Accuracy by score, one entry for each score bin.
        labels: Label names in the model's order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    macro_f1: float | None
    micro_f1: float | None = None
    weighted_f1: float | None = None
    accuracy: float | None = None
    expected_calibration_error: float | None = None
    scored_papers: int = Field(ge=0)
    seen_in_training: int = Field(ge=0)
    macro_f1_with_seen: float | None = None
    weighted_f1_with_seen: float | None = None
    accuracy_with_seen: float | None = None
    per_label: tuple[LabelF1, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    labels: tuple[str, ...]


class EstimatedScores(BaseModel):
    """Accuracy and macro F1, estimated without true labels.

    Attributes:
        papers: Number of papers that the estimate is made from.
        accuracy: Estimated share of the papers whose label is right.
        accuracy_low: Lower end of the 95 % interval of the accuracy.
        accuracy_high: Upper end of the 95 % interval of the accuracy.
        macro_f1: Estimated macro F1.
        macro_f1_low: Lower end of the 95 % interval of the macro F1.
        macro_f1_high: Upper end of the 95 % interval of the macro F1.
        f1: Estimated F1 of each label, in the model's order; null for a label that hardly occurs.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    papers: int = Field(ge=1)
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    f1: tuple[float | None, ...]

    def __str__(self) -> str:
        return (
            f"estimated without true labels: accuracy {self.accuracy:.4f} ({self.accuracy_low:.4f} to "
            f"{self.accuracy_high:.4f}), macro F1 {self.macro_f1:.4f} ({self.macro_f1_low:.4f} to "
            f"{self.macro_f1_high:.4f})"
        )
