"""Estimates with the ends of their ranges."""

from specter_batch.metrics.f1 import wilson

# `estimate`, `low` and `high`.
Range = dict[str, float]


def share_of(count: int, n: int, *, whole: bool) -> Range:
    """Return the share with its 95 % interval, of Wilson; of rows that were all read it is exact."""
    low, high = (count / n, count / n) if whole else wilson(count / n, n)
    return {"estimate": count / n, "low": low, "high": high}


def times(value: Range, factor: float) -> Range:
    """Return the estimate and its ends, each multiplied."""
    return {name: part * factor for name, part in value.items()}
