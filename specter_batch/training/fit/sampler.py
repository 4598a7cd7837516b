"""The order of the papers: those of similar length share a batch, and a resumed epoch finds its order again."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler


class EpochLengthSampler(LengthGroupedSampler):
    """transformers' sampler, its order drawn from seed and epoch instead of whatever was drawn before."""

    def __init__(self, batch_size: int, *, lengths: Sequence[int], seed: int) -> None:
        super().__init__(batch_size, lengths=list(lengths))
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch; accelerate's loader calls this before it iterates."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self._seed + self._epoch)
        return iter(super().__iter__())


class LengthGroupedTrainer(Trainer):
    """transformers' Trainer with `EpochLengthSampler`: its own draws a new order when an epoch is resumed midway."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> EpochLengthSampler:
        del train_dataset  # the same, less the columns that the model does not take
        papers: Any = self.train_dataset
        return EpochLengthSampler(
            self.args.train_batch_size * self.args.gradient_accumulation_steps,
            lengths=papers["length"],
            seed=self.args.seed,
        )
