"""What the steps minimise, and how."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from specter_batch.metrics import Ints
from specter_batch.training.config import TrainConfig
from specter_batch.training.model import SpecterForSequenceClassification


def make_optimizer(model: SpecterForSequenceClassification, config: TrainConfig) -> torch.optim.Optimizer:
    """Make AdamW with the head's own learning rate, and no decay on biases and norms (Devlin et al. 2019)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((name.startswith("head."), parameter.ndim > 1), []).append(parameter)
    head_rate = config.head_learning_rate or config.learning_rate
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": head_rate if in_head else config.learning_rate,
                "weight_decay": config.weight_decay if is_matrix else 0.0,
            }
            for (in_head, is_matrix), parameters in groups.items()
        ],
        lr=config.learning_rate,
    )


def make_loss(config: TrainConfig, train_ids: Ints, *, n_labels: int) -> Callable[..., torch.Tensor]:
    """Make the cross entropy that the Trainer calls with outputs, labels and their count.

    Args:
        config: Label smoothing, and whether to weigh classes by the inverse of their share.
        train_ids: `(n_papers,)` label ids of the training papers.
        n_labels: Of the label set.
    """
    weights: torch.Tensor | None = None
    if config.class_weights:
        counts = np.maximum(np.bincount(train_ids, minlength=n_labels), 1)
        weights = torch.tensor(len(train_ids) / (n_labels * counts), dtype=torch.float32)

    def loss(
        outputs: SequenceClassifierOutput, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        logits = outputs["logits"].float()
        total = nn.functional.cross_entropy(
            logits,
            labels,
            weight=None if weights is None else weights.to(logits.device),
            label_smoothing=config.label_smoothing,
            reduction="sum",
        )
        # The count covers all accumulated batches, so that accumulation equals one large batch.
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    return loss
