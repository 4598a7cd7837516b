"""What the steps minimise, and how."""

import re
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from specter_batch.metrics.f1 import Ints
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.model.classifier import SpecterForSequenceClassification

SGD_MOMENTUM = 0.9

_LAYER = re.compile(r"bert\.encoder\.layer\.(\d+)\.")


def make_optimizer(model: SpecterForSequenceClassification, config: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimizer: each depth has its own rate, biases and norms do not decay (Devlin et al. 2019)."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        rate = learning_rate_of(name, config, n_layers=model.config.num_hidden_layers)
        groups.setdefault((rate, parameter.ndim > 1), []).append(parameter)
    settings = [
        {"params": parameters, "lr": rate, "weight_decay": config.weight_decay if is_matrix else 0.0}
        for (rate, is_matrix), parameters in groups.items()
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=config.learning_rate, momentum=SGD_MOMENTUM)
    return torch.optim.AdamW(settings, lr=config.learning_rate)


def learning_rate_of(parameter: str, config: TrainConfig, *, n_layers: int) -> float:
    """Return a parameter's peak rate: the head's, or the encoder's times `layer_decay` per layer below the top."""
    if parameter.startswith("head."):
        return config.head_learning_rate
    layer = _LAYER.match(parameter)
    if layer is not None:
        below_the_top = n_layers - 1 - int(layer[1])
    else:
        below_the_top = n_layers if parameter.startswith("bert.embeddings.") else 0  # else the pooler, on top
    return float(config.learning_rate * config.layer_decay**below_the_top)


def make_loss(config: TrainConfig, train_ids: Ints, *, n_labels: int) -> Callable[..., torch.Tensor]:
    """Make the cross entropy that the Trainer calls with outputs, labels and their count.

    Args:
        config: Label smoothing and class weights.
        train_ids: `(n_papers,)` label ids of the training papers.
        n_labels: Of the label set.
    """
    weights = class_weights(config, train_ids, n_labels=n_labels)

    def loss(
        outputs: SequenceClassifierOutput, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        logits = outputs["logits"].float()
        # Not torch's own weight: with smoothing it weighs the smoothed share of every class in every paper, so that a
        # rare class, or one that no paper has, would draw all papers to itself.
        each = nn.functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing, reduction="none")
        total = (each * weights.to(logits.device)[labels]).sum()
        # The count covers all accumulated batches, so that accumulation equals one large batch.
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    return loss


def class_weights(config: TrainConfig, train_ids: Ints, *, n_labels: int) -> torch.Tensor:
    """Return `(n_labels,)` float32 weights whose mean over the training papers is 1."""
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[config.class_weights]
    counts = np.bincount(train_ids, minlength=n_labels)
    weights = np.maximum(counts, 1) ** -power
    return torch.tensor(weights * len(train_ids) / (weights * counts).sum(), dtype=torch.float32)
