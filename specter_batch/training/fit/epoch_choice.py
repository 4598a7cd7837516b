"""Which epoch of a fine-tuning is kept: the latest one that is not clearly worse than the best one."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from transformers import EvalPrediction, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from specter_batch.metrics.f1 import F1Report, Tally
from specter_batch.model.ranking import Predictions
from specter_batch.papers.labels import LabelSet

# Name of the metric by which the Trainer chooses: the number of an epoch that may be kept, `NOT_KEPT` for another one.
EPOCH_RANK = "epoch_rank"
NOT_KEPT = -1.0


class EpochChoice(TrainerCallback):
    """Ranks epochs, so that the Trainer keeps the latest one within a standard error of the best macro F1.

    Learning rates fall to 0, so a later epoch is the better one unless the model unlearns something. The macro F1 on a
    few hundred papers is too uncertain to show which of two such epochs is better: the highest figure is often chance.
    This is the rule of one standard error (Breiman et al. 1984, Classification and Regression Trees, section 3.4.3).
    """

    def __init__(self) -> None:
        self._state = TrainerState()

    def on_train_begin(  # the Trainer's own signature
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Take the state, which holds the scores of earlier epochs, also those before a restart."""
        self._state = state

    def rank(self, macro_f1: float, *, papers: int) -> float:
        """Return the rank of the epoch that has just ended.

        Args:
            macro_f1: Its macro F1 on the validation papers.
            papers: Number of validation papers.
        """
        earlier = [entry["eval_macro_f1"] for entry in self._state.log_history if "eval_macro_f1" in entry]
        best = max([macro_f1, *earlier])
        return float(self._state.epoch or 0.0) if macro_f1 >= best - standard_error(best, papers=papers) else NOT_KEPT


def standard_error(score: float, *, papers: int) -> float:
    """Return the standard error of a share that was measured on some papers (binomial)."""
    return math.sqrt(max(score * (1 - score), 0.0) / papers)


def validation_metrics(labels: LabelSet, choice: EpochChoice) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the function that computes the Trainer's metrics of an evaluation: macro F1, accuracy and rank."""

    def metrics(evaluation: EvalPrediction) -> dict[str, float]:
        predictions = Predictions.from_logits(np.asarray(evaluation.predictions), temperature=1.0)
        # The evaluation has an order of its own, so the labels must come from the evaluation, like the logits.
        true = np.asarray(evaluation.label_ids, dtype=np.int64)
        tally = Tally.count(true, predictions.label_id, predictions.score, n_labels=len(labels))
        report = F1Report.from_tally(tally, labels)
        rank = choice.rank(report.macro_f1, papers=len(true))
        return {"macro_f1": report.macro_f1, "accuracy": report.accuracy, EPOCH_RANK: rank}

    return metrics
