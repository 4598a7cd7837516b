"""The models of the reports of `evaluate` and `baseline`. They only declare fields."""

from pydantic import BaseModel, ConfigDict, Field

from specter_batch.metrics.bootstrap import Interval
from specter_batch.metrics.score_report import EstimatedScores, ReliabilityBin, ScoreReport
from specter_batch.metrics.selective import CurvePoint, OperatingPoint


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RiskCoverageCurve(_Frozen):
    """The risk-coverage curve.

    Attributes:
        area: Area under the curve.
        points: Points of the curve, the highest score first.
    """

    area: float
    points: tuple[CurvePoint, ...]


class BatchMean(_Frozen):
    """The mean macro F1 of single batches, only for comparison with older papers that report it.

    Attributes:
        mean: Mean macro F1 over the batches.
        batch_size: Number of papers in a batch.
        batches: Number of batches.
        note: Why this is not a score of all papers together.
    """

    mean: float
    batch_size: int
    batches: int
    note: str


class Uncalibrated(_Frozen):
    """The calibration of the scores without the temperature.

    Attributes:
        expected_calibration_error: Mean distance between score and accuracy; None if there are no papers.
        reliability: Accuracy by score, one entry for each score bin.
    """

    expected_calibration_error: float | None
    reliability: tuple[ReliabilityBin, ...]


class _Headline(_Frozen):
    """The first fields of the file."""

    macro_f1: float | None
    macro_f1_interval: Interval | None


class Figures(ScoreReport, _Headline):
    """All figures of an evaluation. Papers that the model was trained on only count in fields ending in `_with_seen`.

    Attributes:
        macro_f1_interval: Bootstrap interval of the macro F1; None if no paper is scored.
        top3_accuracy: Share of the papers whose label is among the three with the highest scores.
        risk_coverage: Share of wrong labels if only the labels with a high score are kept.
        operating_point: Score threshold for the wanted precision; None if no precision was given.
        batch_mean_macro_f1: Mean of the macro F1 of single batches.
        temperature: Divisor of the model's logits.
        uncalibrated: Calibration of the scores without the temperature.
        estimated: Accuracy and macro F1 as they would be estimated without the true labels, to compare with; absent if
            it is not known how many papers the model was calibrated on.
    """

    top3_accuracy: float | None
    risk_coverage: RiskCoverageCurve | None
    operating_point: OperatingPoint | None
    batch_mean_macro_f1: BatchMean | None
    temperature: float
    uncalibrated: Uncalibrated
    estimated: EstimatedScores | None = Field(default=None, exclude_if=lambda estimated: estimated is None)


class ScoredPapers(Figures):
    """The figures, and the numbers of labelled papers that are not scored.

    Attributes:
        not_finite: Number of papers for which the model gives NaN or infinity.
        unknown_labels: Number of papers whose label the model does not know.
        unknown_label_papers: Label that the model does not know -> number of papers with it.
    """

    not_finite: int
    unknown_labels: int
    unknown_label_papers: dict[str, int]


class EvaluationReport(ScoredPapers):
    """`report.json` of an evaluation.

    Attributes:
        model: Folder of the run or bundle.
        fingerprint: Fingerprint of the bundle; None for a run.
        model_sha256: SHA-256 of `run.json` or `bundle.json`.
        papers: Input of labelled papers.
        papers_sha256: SHA-256 of the papers' content.
        is_validation_data: True if the model's best epoch and temperature were chosen on these papers.
        dropped: Reason -> number of rows that were left out.
        notes: Notes about the papers and their labels.
        device: Device that the model ran on.
        provider: ONNX Runtime's execution provider, or `torch`.
        graph: File of the graph or of the weights.
        version: Version of specter-batch.
    """

    model: str
    fingerprint: str | None
    model_sha256: str | None
    papers: str
    papers_sha256: str
    is_validation_data: bool
    dropped: dict[str, int]
    notes: tuple[str, ...]
    device: str
    provider: str
    graph: str
    version: str


class MethodScores(_Frozen):
    """One method of a baseline's table, scored on the test papers.

    Attributes:
        method: Description of the method.
        macro_f1: Macro F1 over the labels that occur as true or predicted labels.
        macro_f1_interval: Bootstrap interval of the macro F1.
        accuracy: Share of the papers whose label is right.
        papers: Number of papers scored.
    """

    method: str
    macro_f1: float
    macro_f1_interval: Interval
    accuracy: float
    papers: int


class SvmFacts(_Frozen):
    """How the linear SVM on frozen embeddings was made.

    Attributes:
        encoder: Name or folder of the frozen encoder.
        pooling: Name of the method that turns token vectors into one paper vector.
        max_length: Largest number of tokens of a paper that the encoder reads.
        hidden_size: Length of an embedding.
        c: Regularisation parameter C of the SVM, chosen by cross-validation.
        folds: Number of folds of the cross-validation.
        cross_validation_accuracy: Mean accuracy of the SVM over the folds.
        embeddings_from_cache: Number of inputs whose embeddings were read from the cache.
        notes: Notes about the SVM and the papers.
    """

    encoder: str
    pooling: str
    max_length: int
    hidden_size: int
    c: float
    folds: int
    cross_validation_accuracy: float
    embeddings_from_cache: int
    notes: tuple[str, ...]


class _Inputs(_Frozen):
    """The first fields of the file."""

    train: str
    test: str
    models: tuple[str, ...]
    train_papers: int
    test_papers: int
    seen_in_train: int
    seen_by_models_alone: int
    dropped: dict[str, dict[str, int]]
    seed: int


class BaselineReport(SvmFacts, _Inputs):
    """`baseline.json`.

    Attributes:
        train: Input of papers that the SVM was fitted on.
        test: Input of papers that all methods are scored on.
        models: Folders of the fine-tuned runs and bundles.
        train_papers: Number of training papers.
        test_papers: Number of test papers.
        seen_in_train: Number of test papers that are also training papers; they are not scored.
        seen_by_models_alone: Number of other test papers that a model was trained on; they are not scored.
        dropped: Input -> reason -> number of rows that were left out.
        seed: Random seed of the bootstrap.
        methods: Scores of each method; the SVM comes first.
    """

    methods: tuple[MethodScores, ...]
