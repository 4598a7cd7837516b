"""The nightly job: a bundle and parquet in; labels, rejects and a report out, with every row accounted for.

`read_night` and `compare_nights` read what nights wrote. They are loaded when they are first used, so that commands do
not load what they do not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specter_jobs.inspect.compare import NightComparison as NightComparison
    from specter_jobs.inspect.compare import compare_nights as compare_nights
    from specter_jobs.inspect.read import NightWarning as NightWarning
    from specter_jobs.inspect.read import read_night as read_night

_PUBLIC = {
    "NightComparison": "specter_jobs.inspect.compare",
    "NightWarning": "specter_jobs.inspect.read",
    "compare_nights": "specter_jobs.inspect.compare",
    "read_night": "specter_jobs.inspect.read",
}
__all__ = ["NightComparison", "NightWarning", "compare_nights", "read_night"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
