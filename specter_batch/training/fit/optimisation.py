"""The optimizer and the loss of fine-tuning."""

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
    """Make the optimizer: each layer has a learning rate; biases and norms have no decay (Devlin et al. 2019)."""
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
    return torch.optim.AdamW(settings, lr=config.learning_rate, fused=True)


def learning_rate_of(parameter: str, config: TrainConfig, *, n_layers: int) -> float:
    """Return the peak learning rate of a parameter.

    It is the head's rate, or the encoder's rate times `layer_decay` for each layer below the top one.
    """
    if parameter.startswith("head."):
        return config.head_learning_rate
    layer = _LAYER.match(parameter)
    if layer is not None:
        below_the_top = n_layers - 1 - int(layer[1])
    else:
        below_the_top = n_layers if parameter.startswith("bert.embeddings.") else 0  # else the pooler, above all layers
    return float(config.learning_rate * config.layer_decay**below_the_top)


def make_loss(config: TrainConfig, train_ids: Ints, *, n_labels: int) -> Callable[..., torch.Tensor]:
    """Make the cross entropy loss that the Trainer calls with outputs, labels and the number of labels.

    Args:
        config: Settings with the label smoothing and the class weights.
        train_ids: Label ids of the training papers, `(n_papers,)`.
        n_labels: Number of labels in the label set.
    """
    weights = class_weights(config, train_ids, n_labels=n_labels)

    def loss(
        outputs: SequenceClassifierOutput, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        logits = outputs["logits"].float()
        # We do not use the `weight` argument of torch. With smoothing it also multiplies the smoothed share of every
        # class in every paper, so a rare class, or one without papers, would be predicted far too often.
        each = nn.functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing, reduction="none")
        total = (each * weights.to(logits.device)[labels]).sum()
        # The number includes all accumulated batches, so that accumulation equals one large batch.
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    return loss


def class_weights(config: TrainConfig, train_ids: Ints, *, n_labels: int) -> torch.Tensor:
    """Return the weights of the classes, `(n_labels,)` float32. Their mean over the training papers is 1."""
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[config.class_weights]
    counts = np.bincount(train_ids, minlength=n_labels)
    weights = np.maximum(counts, 1) ** -power
    return torch.tensor(weights * len(train_ids) / (weights * counts).sum(), dtype=torch.float32)
