"""Computes all figures of an evaluation from the logits of labelled papers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.bootstrap import macro_f1_interval
from specter_batch.metrics.estimated import estimated_scores
from specter_batch.metrics.expected_sums import ExpectedSums
from specter_batch.metrics.f1 import F1Report, Ints, Tally, macro_f1, top_k_accuracy
from specter_batch.metrics.score_report import EstimatedScores
from specter_batch.metrics.scores import Scores
from specter_batch.metrics.selective import RiskCoverage
from specter_batch.model.ranking import Predictions
from specter_batch.papers.labels import LabelSet
from specter_batch.training.evaluation.report_model import BatchMean, Figures, RiskCoverageCurve, Uncalibrated

BATCH_MEAN_NOTE = (
    "Not a corpus-level score: the mean of the macro F1 of single batches, each over the labels that occur in it. It "
    "depends on batch size and file order. For comparison with older figures of that kind only."
)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        precision: Precision, 0 to 1, for which a score threshold is searched; no search when None.
        batch_mean_size: Number of papers in a batch of `batch_mean_macro_f1`.
        seed: Random seed of the bootstrap.
    """

    precision: float | None = None
    batch_mean_size: int = 32
    seed: int = 0


def figures(
    logits: npt.NDArray[Any],
    true: Ints,
    *,
    seen: npt.NDArray[np.bool_],
    temperature: float,
    labels: LabelSet,
    settings: EvaluationSettings,
    logit_divisor: float | None = None,
    validation_papers: int | None = None,
) -> Figures:
    """Return the figures of `report.json`.

    Papers trained on are left out of all figures, except the ones whose name ends in `_with_seen`.

    Args:
        logits: Logits of the papers in file order, `(n, n_labels)`.
        true: True label ids, `(n,)`.
        seen: True for papers that were trained on, `(n,)` bool.
        temperature: Temperature of the model.
        labels: The labels in the order of the logits.
        settings: Settings of the evaluation.
        logit_divisor: What these logits must still be divided by; the temperature when None. It is 1 for a graph that
            gives scaled logits.
        validation_papers: Number of papers that the model was calibrated on; no estimate without labels when None.
    """
    divisor = temperature if logit_divisor is None else logit_divisor
    predictions = Predictions.from_logits(logits, temperature=divisor)
    scores = Scores.count(true, predictions.label_id, predictions.score, seen=seen, n_labels=len(labels))
    report = scores.as_report(labels)
    unseen, is_unseen = true[~seen], ~seen
    curve = (
        RiskCoverage.of(predictions.label_id[is_unseen] == unseen, predictions.score[is_unseen])
        if len(unseen)
        else None
    )
    return Figures(
        **dict(report),
        macro_f1_interval=macro_f1_interval(scores.unseen.confusion, seed=settings.seed),
        top3_accuracy=top_k_accuracy(logits[is_unseen], unseen, k=3) if curve else None,
        risk_coverage=RiskCoverageCurve(area=curve.area, points=curve.points()) if curve else None,
        operating_point=curve.operating_point(settings.precision) if curve and settings.precision is not None else None,
        batch_mean_macro_f1=(
            _batch_mean(unseen, predictions.label_id[is_unseen], n_labels=len(labels), size=settings.batch_mean_size)
            if curve
            else None
        ),
        temperature=temperature,
        uncalibrated=_uncalibrated(logits[is_unseen] * (temperature / divisor), unseen, labels),
        estimated=(
            _estimated(predictions, is_unseen, validation_papers=validation_papers) if validation_papers else None
        ),
    )


def _estimated(
    predictions: Predictions, papers: npt.NDArray[np.bool_], *, validation_papers: int
) -> EstimatedScores | None:
    """Return the scores of some papers, `(n,)` bool, as they would be estimated without true labels."""
    label_id, probabilities = predictions.label_id[papers], predictions.probabilities[papers]
    sums = ExpectedSums.count(label_id, predictions.score[papers], probabilities)
    predicted = np.bincount(label_id, minlength=probabilities.shape[1]).tolist()
    return estimated_scores(sums, predicted, validation_papers=validation_papers)


def _batch_mean(true: Ints, predicted: Ints, *, n_labels: int, size: int) -> BatchMean:
    means = batch_macro_f1(true, predicted, n_labels=n_labels, size=size)
    return BatchMean(mean=float(means.mean()), batch_size=size, batches=len(means), note=BATCH_MEAN_NOTE)


def batch_macro_f1(true: Ints, predicted: Ints, *, n_labels: int, size: int) -> npt.NDArray[np.float64]:
    """Return the macro F1 of each batch, `(n_batches,)`, of papers in file order. The last batch may be smaller.

    Within a batch the F1 is equal to `sklearn.metrics.f1_score(..., average="macro")`.

    Args:
        true: True label ids, `(n,)`.
        predicted: Predicted label ids, `(n,)`.
        n_labels: Number of labels in the label set.
        size: Number of papers in a batch.
    """
    batch = np.arange(len(true)) // size
    n_batches = -(-len(true) // size)

    def by_batch(rows: npt.NDArray[np.bool_] | slice, ids: Ints) -> Ints:
        cells = np.bincount(batch[rows] * n_labels + ids[rows], minlength=n_batches * n_labels)
        return cells.reshape(n_batches, n_labels)

    return macro_f1(by_batch(true == predicted, true), by_batch(slice(None), true), by_batch(slice(None), predicted))


def _uncalibrated(logits: npt.NDArray[Any], true: Ints, labels: LabelSet) -> Uncalibrated:
    """Return the calibration of the scores without the temperature."""
    predictions = Predictions.from_logits(logits, temperature=1.0)
    tally = Tally.count(true, predictions.label_id, predictions.score, n_labels=len(labels))
    error = F1Report.from_tally(tally, labels).expected_calibration_error
    return Uncalibrated(expected_calibration_error=error if len(true) else None, reliability=tally.reliability())
