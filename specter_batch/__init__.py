"""Label scientific papers in parquet with a fine-tuned SPECTER, every night, with every row accounted for.

`Classifier` labels the papers of a DataFrame. It is loaded when it is first used, so that commands do not load what
they do not need.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specter_batch.classifier.classifier import Classifier as Classifier

_PUBLIC = {"Classifier": "specter_batch.classifier.classifier"}
__all__ = ["Classifier", "__version__"]

__version__ = "0.1.0"

# Nothing is reported to the makers of libraries, unless a user has set these variables. ONNX Runtime would write a
# device id and a queue of events into HOME as soon as it is loaded, and its function to turn this off comes too late.
# Ray would report the use of a cluster.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
