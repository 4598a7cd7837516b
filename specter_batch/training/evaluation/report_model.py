"""The reports of `evaluate` and `baseline`: models of their fields, and no arithmetic."""

from pydantic import BaseModel, ConfigDict

from specter_batch.metrics.bootstrap import Interval
from specter_batch.metrics.score_report import ReliabilityBin, ScoreReport
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
    """The mean macro F1 of single batches, for comparison with older figures of that kind.

    Attributes:
        mean: Mean over the batches.
        batch_size: Papers in a batch.
        batches: Number of batches.
        note: Why it is no corpus-level score.
    """

    mean: float
    batch_size: int
    batches: int
    note: str


class Uncalibrated(_Frozen):
    """What the scores are worth without the temperature.

    Attributes:
        expected_calibration_error: Mean distance between score and accuracy; None without papers.
        reliability: Accuracy by score.
    """

    expected_calibration_error: float | None
    reliability: tuple[ReliabilityBin, ...]


class _Headline(_Frozen):
    """What comes first in the file."""

    macro_f1: float | None
    macro_f1_interval: Interval | None


class Figures(ScoreReport, _Headline):
    """Every figure of an evaluation. Papers that the model was trained on count only where the name says so.

    Attributes:
        macro_f1_interval: Bootstrap interval of the macro F1; None if no paper is scored.
        top3_accuracy: Share of the papers whose label is among the three with the highest scores.
        risk_coverage: What is gained by keeping only the labels with a high score.
        operating_point: The threshold for the precision that was asked for; None if none was.
        batch_mean_macro_f1: Mean of the macro F1 of single batches.
        temperature: Divides the model's logits.
        uncalibrated: What the scores are worth without the temperature.
    """

    top3_accuracy: float | None
    risk_coverage: RiskCoverageCurve | None
    operating_point: OperatingPoint | None
    batch_mean_macro_f1: BatchMean | None
    temperature: float
    uncalibrated: Uncalibrated


class ScoredPapers(Figures):
    """The figures, and how many papers with a label are not scored.

    Attributes:
        not_finite: Papers for which the model gives NaN or infinity.
        unknown_labels: Papers whose label the model does not know.
        unknown_label_papers: Number of these papers by label.
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
        papers_sha256: SHA-256 of their content.
        is_validation_data: The model's best epoch and temperature were chosen on these papers.
        dropped: Rows that were left out, by reason.
        notes: What else there is to say of the papers.
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
        method: What the method is, in words.
        macro_f1: Macro F1 over the labels that occur among the true or predicted ones.
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
        pooling: How token vectors become one paper vector.
        max_length: Most tokens of a paper that the encoder reads.
        hidden_size: Numbers of an embedding.
        c: The SVM's regularisation, chosen by cross-validation.
        folds: Folds of the cross-validation.
        cross_validation_accuracy: Its accuracy there.
        embeddings_from_cache: Embeddings that were not computed again.
        notes: What else there is to say.
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
    """What comes first in the file."""

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
        train: Papers that the SVM was fitted on.
        test: Papers that all methods are scored on.
        models: Fine-tuned runs and bundles.
        train_papers: Number of training papers.
        test_papers: Number of test papers.
        seen_in_train: Test papers that are training papers; they are not scored.
        seen_by_models_alone: Test papers that only a model has seen; they are not scored.
        dropped: Rows that were left out of either input, by reason.
        seed: Random seed of the SVM and of the bootstrap.
        methods: Scores of each method, the SVM's first.
    """

    methods: tuple[MethodScores, ...]
