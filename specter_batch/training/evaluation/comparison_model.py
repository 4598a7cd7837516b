"""The model of the report of `compare-models`. It only declares fields."""

from pydantic import BaseModel, ConfigDict

from specter_batch.metrics.bootstrap import Interval
from specter_batch.metrics.non_inferiority import NonInferiority
from specter_batch.metrics.paired import PairedComparison
from specter_batch.metrics.score_report import ReliabilityBin


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ComparedModel(_Frozen):
    """One of the two models, scored on the papers that neither model was trained on.

    Attributes:
        model: Folder of the run or bundle.
        fingerprint: Fingerprint of the bundle; None for a run.
        model_sha256: SHA-256 of `run.json` or `bundle.json`.
        device: Device that the model ran on.
        provider: ONNX Runtime's execution provider, or `torch`.
        graph: File of the graph or of the weights.
        is_validation_data: True if the model's best epoch and temperature were chosen on these papers.
        seen_in_training: Number of papers that the model was trained on; no figure counts them.
        macro_f1_interval: Bootstrap interval of the macro F1 of the model alone.
        expected_calibration_error: Mean distance between score and accuracy.
        reliability: Accuracy by score, one entry for each score bin.
    """

    model: str
    fingerprint: str | None
    model_sha256: str | None
    device: str
    provider: str
    graph: str
    is_validation_data: bool
    seen_in_training: int
    macro_f1_interval: Interval
    expected_calibration_error: float
    reliability: tuple[ReliabilityBin, ...]


class LabelChange(_Frozen):
    """The papers to which model A gives one label and model B gives another.

    Attributes:
        a: Label of model A.
        b: Label of model B.
        papers: Number of papers.
        a_right: Number of these papers that model A labels right.
        b_right: Number of these papers that model B labels right.
    """

    a: str
    b: str
    papers: int
    a_right: int
    b_right: int


class ModelComparison(_Frozen):
    """`report.json` of a comparison. Every difference is B minus A.

    Attributes:
        a: Model A, the one to compare with.
        b: Model B, the new one.
        papers: Input of labelled papers.
        papers_sha256: SHA-256 of the papers' content.
        compared: The figures of both models on the same papers, and their differences.
        non_inferiority: Whether B loses at most the macro F1 that was given; None if no loss was given.
        changes: The most frequent changes of a label from A to B.
        changed_papers: Number of papers with another label.
        seen_in_training: Number of papers that at least one model was trained on; they are left out.
        unknown_labels: Number of papers with a label that the models do not know; they are left out.
        not_finite: Number of papers for which a model gives NaN or infinity; they are left out.
        dropped: Reason -> number of rows that were left out when the papers were read.
        labels: Label names in the order of model A.
        notes: Notes about the papers and their labels.
        seed: Random seed of the bootstrap.
        version: Version of specter-batch.
    """

    a: ComparedModel
    b: ComparedModel
    papers: str
    papers_sha256: str
    compared: PairedComparison
    non_inferiority: NonInferiority | None
    changes: tuple[LabelChange, ...]
    changed_papers: int
    seen_in_training: int
    unknown_labels: int
    not_finite: int
    dropped: dict[str, int]
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    seed: int
    version: str
