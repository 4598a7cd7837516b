"""Fine-tuning: the only part of the core that imports torch and transformers.

`load_run` loads the model of a training run in PyTorch. It is imported when it is first used, because it loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specter_batch.training.run.model import load_run as load_run

_PUBLIC = {"load_run": "specter_batch.training.run.model"}
__all__ = ["load_run"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
