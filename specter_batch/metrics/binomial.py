"""The exact upper bound of a share, from a count of papers (Clopper and Pearson 1934)."""

import math
from functools import lru_cache

import numpy as np

# Halving the interval from 0 to 1 this often leaves no difference that float64 can hold.
_HALVINGS = 64
# More papers than anybody can check would be needed to show a smaller share.
SMALLEST_SHARE = 1e-9


@lru_cache(maxsize=4096)
def upper_bound(events: int, papers: int, *, delta: float) -> float:
    """Return the largest share of events that is compatible with a count of independent papers.

    If the true share is larger than some value p, this bound is at most p with a probability of at most `delta`.

    Args:
        events: Number of papers with the event.
        papers: Number of papers, at least 1.
        delta: Largest probability that the bound is too low, above 0 and below 1.
    """
    if events >= papers:
        return 1.0
    k = np.arange(events + 1)
    choose = [math.lgamma(papers + 1) - math.lgamma(i + 1) - math.lgamma(papers - i + 1) for i in range(events + 1)]
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        if share in (0.0, 1.0):
            break
        at_most = np.exp(np.array(choose) + k * math.log(share) + (papers - k) * math.log1p(-share)).sum()
        low, high = (share, high) if at_most > delta else (low, share)
    return high


def papers_needed(share: float, *, delta: float) -> int | None:
    """Return how many papers without an event show that the share of events is at most this; None if no number does.

    Args:
        share: The share to show, 0 to 1. No papers are needed for a share of 1.
        delta: Largest probability that this is wrong.
    """
    if share < SMALLEST_SHARE:
        return None
    if share >= 1:
        return 0
    needed = math.ceil(math.log(delta) / math.log1p(-share))
    return needed if upper_bound(0, needed, delta=delta) <= share else needed + 1


def most_events(papers: int, share: float, *, delta: float) -> int:
    """Return how many events may occur in some papers so that they still show a share; -1 if no count shows it.

    Args:
        papers: Number of papers, at least 1.
        share: The share to show: the upper bound of that many events is not above it.
        delta: Largest probability that this is wrong.
    """
    events = 0
    while events < papers and upper_bound(events, papers, delta=delta) <= share:
        events += 1
    return events - 1
