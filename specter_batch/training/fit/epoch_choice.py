"""Which epoch of a fine-tuning is kept: the latest one that is not clearly worse than the best one."""

import math
from collections.abc import Callable

import numpy as np
from transformers import EvalPrediction, TrainerState

from specter_batch.metrics.f1 import F1Report, Tally
from specter_batch.model.ranking import Predictions
from specter_batch.papers.labels import LabelSet

# Name of the metric by which the Trainer chooses: the number of an epoch that may be kept, `NOT_KEPT` for another one.
EPOCH_RANK = "epoch_rank"
NOT_KEPT = -1.0


def epoch_rank(macro_f1: float, state: TrainerState, *, papers: int) -> float:
    """Return the rank of the epoch that has just ended. The Trainer keeps the epoch with the highest rank.

    The latest epoch within a standard error of the best macro F1 has the highest rank. Learning rates fall to 0, so a
    later epoch is the better one unless the model unlearns something. The macro F1 on a few hundred papers is too
    uncertain to show which of two such epochs is better: the highest figure is often chance. This is the rule of one
    standard error (Breiman et al. 1984, Classification and Regression Trees, section 3.4.3).

    Args:
        macro_f1: The macro F1 of the epoch on the validation papers.
        state: The state of the Trainer, which holds the scores of earlier epochs, also those before a restart.
        papers: Number of validation papers.
    """
    earlier = [entry["eval_macro_f1"] for entry in state.log_history if "eval_macro_f1" in entry]
    best = max([macro_f1, *earlier])
    return float(state.epoch or 0.0) if macro_f1 >= best - standard_error(best, papers=papers) else NOT_KEPT


def standard_error(score: float, *, papers: int) -> float:
    """Return the standard error of a share that was measured on some papers (binomial)."""
    return math.sqrt(max(score * (1 - score), 0.0) / papers)


def validation_metrics(
    labels: LabelSet, state: Callable[[], TrainerState]
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the function that computes the Trainer's metrics of an evaluation: macro F1, accuracy and rank.

    Args:
        labels: Label set of the model.
        state: Returns the state of the Trainer.
    """

    def metrics(evaluation: EvalPrediction) -> dict[str, float]:
        predictions = Predictions.from_logits(np.asarray(evaluation.predictions), temperature=1.0)
        # The evaluation has an order of its own, so the labels must come from the evaluation, like the logits.
        true = np.asarray(evaluation.label_ids, dtype=np.int64)
        tally = Tally.count(true, predictions.label_id, predictions.score, n_labels=len(labels))
        report = F1Report.from_tally(tally, labels)
        rank = epoch_rank(report.macro_f1, state(), papers=len(true))
        return {"macro_f1": report.macro_f1, "accuracy": report.accuracy, EPOCH_RANK: rank}

    return metrics
