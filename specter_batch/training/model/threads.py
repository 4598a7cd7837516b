"""How many CPU threads PyTorch uses."""

import os
from dataclasses import dataclass

import torch

from specter_batch.cpus import usable_cpus

# All threads share each matrix product and wait for each other after it. A second thread still saves time if each of
# the two has 12 million multiplications (docs/training.md). Smaller products were not measured.
LEAST_MULTIPLICATIONS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class TorchThreads:
    """The number of CPU threads of PyTorch.

    Attributes:
        count: Number of threads.
        chosen_by: What the number comes from: an option, an environment variable, or what this project looked at.
    """

    count: int
    chosen_by: str

    def __str__(self) -> str:
        return f"PyTorch uses {self.count} CPU thread{'s' * (self.count != 1)} ({self.chosen_by})"


def use_threads(asked: int | None, *, tokens: int, hidden_size: int) -> TorchThreads:
    """Set the number of CPU threads of PyTorch, for this process.

    A number that the user gives is taken. Otherwise there is one thread for each usable core, but fewer for a model
    whose matrix products are too small to share. The load of the machine has no influence, because a run that is
    resumed later should have as many threads as before: the last bits of a sum depend on their number.

    Args:
        asked: The number that the user asks for with an option; None to choose one.
        tokens: Number of tokens in a batch.
        hidden_size: Width of the encoder.
    """
    if asked is None and os.environ.get("OMP_NUM_THREADS"):
        return TorchThreads(count=torch.get_num_threads(), chosen_by="OMP_NUM_THREADS")
    chosen = (
        TorchThreads(count=asked, chosen_by="--threads")
        if asked
        else chosen_threads(tokens, hidden_size, cores=usable_cpus())
    )
    torch.set_num_threads(chosen.count)
    return chosen


def chosen_threads(tokens: int, hidden_size: int, *, cores: int) -> TorchThreads:
    """Return the number of threads for products of this size, at most one for each core."""
    shared = max(tokens * hidden_size**2 // LEAST_MULTIPLICATIONS, 1)  # of the smallest product of a layer
    if shared < cores:
        return TorchThreads(count=shared, chosen_by="the model is too small for more")
    return TorchThreads(count=cores, chosen_by="usable cores")
