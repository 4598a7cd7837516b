"""Loads the model of a training run in PyTorch."""

from pathlib import Path

from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.run.folder import TrainingRun


def load_run(path: str | Path) -> SpecterForSequenceClassification:
    """Load the model of a finished training run, whatever its head and pooling, for inference in PyTorch.

    The logits of the model are not divided by the temperature. Scores of the job are
    `softmax(logits / TrainingRun.open(path).temperature)`.

    Args:
        path: The run folder.

    Raises:
        BundleError: The folder is not a finished run.
    """
    run = TrainingRun.open(path)
    model: SpecterForSequenceClassification = SpecterForSequenceClassification.from_pretrained(run.path)
    model.eval()
    return model
