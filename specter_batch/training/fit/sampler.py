"""The order of the papers: papers of similar length share a batch, and a resumed epoch has the same order again."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from specter_batch.training.distillation.loss import TaughtLabels
from specter_batch.training.papers.dataset import TEACHER_LOGITS


class EpochLengthSampler(LengthGroupedSampler):
    """transformers' sampler with an order that depends only on the seed and the epoch."""

    def __init__(self, batch_size: int, *, lengths: Sequence[int], seed: int) -> None:
        super().__init__(batch_size, lengths=list(lengths))
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch. accelerate's loader calls this before it iterates."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self._seed + self._epoch)
        return iter(super().__iter__())


class LengthGroupedTrainer(Trainer):
    """transformers' Trainer with `EpochLengthSampler`. The default sampler changes the order of a resumed epoch.

    Args:
        warmup_ratio: Share of the steps in which the learning rate rises. `TrainingArguments` has different names for
            the share in transformers 4 and 5, but the same name for the number of steps.
        settings: The Trainer's own arguments.
    """

    def __init__(self, *, warmup_ratio: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._warmup_ratio = warmup_ratio

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the schedule of the learning rates."""
        self.args.warmup_steps = math.ceil(num_training_steps * self._warmup_ratio)
        return super().create_scheduler(num_training_steps, optimizer)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> EpochLengthSampler:
        del train_dataset  # the same as `self.train_dataset`
        papers: Any = self.train_dataset
        return EpochLengthSampler(
            self.args.train_batch_size * self.args.gradient_accumulation_steps,
            lengths=papers["length"],
            seed=self.args.seed,
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """Return the loss of a batch. A teacher's logits go to the loss together with the labels."""
        teacher_logits = inputs.pop(TEACHER_LOGITS, None)
        if teacher_logits is not None:
            inputs["labels"] = TaughtLabels(label_ids=inputs["labels"], teacher_logits=teacher_logits)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
