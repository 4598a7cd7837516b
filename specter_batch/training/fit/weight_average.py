"""Averages the weights over the latest steps. The average is what is evaluated, chosen from and kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from specter_batch.training.fit.sampler import LengthGroupedTrainer

# The average in a checkpoint, next to the weights that training goes on from.
AVERAGE_FILE = "average.safetensors"


class WeightAverage(TrainerCallback):
    """A running average of the weights, in which a later step weighs more (Shamir and Zhang 2013).

    Step `t` moves the average by `c / t` of the way to the weights of that step. So it looks back on the same share of
    any number of steps, and needs to know neither how many will follow nor the weights of earlier ones.
    """

    def __init__(self, share: float) -> None:
        """Make an average that begins with the training.

        Args:
            share: The average is as old as the mean over this share of the latest steps. 1 is the mean of all steps.
        """
        self._power = 2 / share - 1
        self._means: dict[str, torch.Tensor] = {}

    def on_train_begin(  # the Trainer's own signature
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **event: Any,
    ) -> None:
        """Begin with the weights of the model, or with the average that `read` found."""
        self._means = {
            name: self._means[name].to(tensor.device) if name in self._means else tensor.clone()
            for name, tensor in _weights(event["model"]).items()
        }

    def on_step_end(  # the Trainer's own signature
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **event: Any,
    ) -> None:
        """Add the weights of the step."""
        weights = _weights(event["model"])
        torch._foreach_lerp_(  # one call for all tensors, as in torch.optim.swa_utils
            [self._means[name] for name in weights], list(weights.values()), min(1.0, self._power / state.global_step)
        )

    @contextmanager
    def in_use(self, model: nn.Module) -> Iterator[None]:
        """Let the model have the average as its weights for a while."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    def _swap(self, model: nn.Module) -> None:
        for name, tensor in _weights(model).items():
            own = tensor.clone()
            tensor.copy_(self._means[name])
            self._means[name].copy_(own)

    def save(self, checkpoint: Path) -> None:
        """Write the average into the folder of a checkpoint."""
        save_file({name: mean.contiguous() for name, mean in self._means.items()}, checkpoint / AVERAGE_FILE)

    def read(self, checkpoint: Path) -> None:
        """Go on from the average of a checkpoint."""
        self._means = load_file(checkpoint / AVERAGE_FILE)


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a model, and the running means and variances of its batch norms. Nothing is copied."""
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


class AveragingTrainer(LengthGroupedTrainer):
    """A trainer that evaluates and keeps the average of the weights, while it trains the weights themselves."""

    def __init__(self, average: WeightAverage, **settings: Any) -> None:
        super().__init__(**settings)
        self._average = average
        self.add_callback(average)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate the average."""
        model: Any = self.model
        with self._average.in_use(model):
            return super().evaluation_loop(*args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        self._average.save(Path(str(output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._average.read(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()
        best = load_file(Path(str(self.state.best_model_checkpoint)) / AVERAGE_FILE)
        model: Any = self.model
        for name, tensor in _weights(model).items():
            tensor.copy_(best[name])


def make_trainer(averaged_share: float, **settings: Any) -> LengthGroupedTrainer:
    """Make a trainer with the Trainer's own settings. It averages no weights if the share is 0."""
    trainer: LengthGroupedTrainer = (
        AveragingTrainer(WeightAverage(averaged_share), **settings)
        if averaged_share
        else LengthGroupedTrainer(**settings)
    )
    return trainer
