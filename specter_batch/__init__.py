"""Label scientific papers in parquet with a fine-tuned SPECTER, every night, with every row accounted for.

`Classifier` labels the papers of a DataFrame. It is loaded when it is first used, so that commands do not load what
they do not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specter_batch.classifier.classifier import Classifier as Classifier

_PUBLIC = {"Classifier": "specter_batch.classifier.classifier"}
__all__ = ["Classifier", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
