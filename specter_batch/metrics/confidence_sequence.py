"""Bounds for a rate that hold after every look: a confidence sequence for counts of yes and no.

The bounds come from betting against a rate (I. Waudby-Smith and A. Ramdas, *Estimating Means of Bounded Random
Variables by Betting*, JRSS B 86, 2024, https://arxiv.org/abs/2010.09686). To test that a rate is at most `p`, a player
bets that it is `c` times as high. Each hit multiplies the player's capital by `c`, and each other item multiplies it by
`(1 - c p) / (1 - p)`. If the rate is at most `p`, the capital does not grow on average. By Ville's inequality, it then
ever reaches 20 times its start with a probability of at most 5 %. The rate may change between looks, as long as it is
at most `p`. Items of one look may be drawn without replacement (W. Hoeffding, *Probability Inequalities for Sums of
Bounded Random Variables*, 1963, theorem 4). The player divides the capital over several values of `c`, so only counts
have to be kept.

A player who began long ago has little capital left when the rate suddenly rises, so a part of the capital is set aside
for bets that begin at each later look (J. Shin, A. Ramdas and A. Rinaldo, *E-detectors*, 2023,
https://arxiv.org/abs/2203.03532). A long good time then cannot hide a bad one for long.

The package `confseq` of the same authors has no wheel and needs a C++ compiler and Boost, and its last release is from
2023. These bounds need a few lines of numpy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.f1 import Floats

LEVEL = 0.95
# The most looks that share the capital for later bets. The bounds do not hold for more looks.
MAX_LOOKS = 365
# How many times as high, or as low, as the tested rate the bets assume the rate to be. A bet on 0 wins as long as there
# is no hit. These values lose little against any true rate: see the simulation in the tests.
HIGHER = np.array([1.25, 1.5, 2, 3, 5, 10, 30])
LOWER = np.array([0, 0.1, 0.25, 0.5, 0.7, 0.85])
# Half of the capital is bet from the first look on.
FIRST_SHARE = 0.5
# Bounds are exact to about one part in a million millions.
HALVINGS = 40


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look found.

    Attributes:
        items: Number of items that were drawn at random.
        hits: Number of these items that are hits.
    """

    items: int
    hits: int


@dataclass(frozen=True, kw_only=True)
class RateBounds:
    """A lower and an upper bound for a rate. Each is right at all looks together with the probability `level`.

    Attributes:
        low: The rate was at least this high at one look or more.
        high: The rate was at most this high at one look or more. If the rate rises, it can be lower than `low`.
        level: Probability that a bound is right at all looks.
    """

    low: float
    high: float
    level: float

    @property
    def has_risen(self) -> bool:
        """Whether the bounds cannot belong to one rate, because looks with a low rate came before a high one."""
        return self.low > self.high


def rate_bounds(looks: Sequence[Look], *, level: float = LEVEL) -> RateBounds:
    """Return bounds for a rate that may be computed after each look, without becoming wrong more often.

    Args:
        looks: All looks up to now, the earliest first. Whether there is another look may depend on what these found.
        level: Probability with which each bound holds at all looks together.

    Raises:
        ValueError: There are more than `MAX_LOOKS` looks.
    """
    if len(looks) > MAX_LOOKS:
        raise ValueError(f"at most {MAX_LOOKS} looks can be taken together, got {len(looks)}")
    hits = np.array([look.hits for look in looks], dtype=np.float64)
    others = np.array([look.items - look.hits for look in looks], dtype=np.float64)
    needed = np.log(1 / (1 - level))
    low = _largest(lambda rate: _log_capital_of_higher(rate, hits, others) >= needed) if hits.sum() else 0.0
    high = _largest(lambda rate: _log_capital_of_lower(rate, hits.sum(), others.sum()) < needed)
    return RateBounds(low=low, high=high, level=level)


def _largest(holds: Callable[[float], bool]) -> float:
    """Return the largest rate for which a condition holds that holds for all rates below it; 0 if it never holds."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _log_capital_of_higher(rate: float, hits: Floats, others: Floats) -> float:
    """Return the log of the capital of bets that the rate is higher, which began at the first look and at later ones.

    Args:
        rate: The rate to bet against.
        hits: Number of hits by look, `(n_looks,)`.
        others: Number of other items by look, `(n_looks,)`.
    """
    # Row s has the sums from look s to the last one.
    since = np.stack([np.cumsum(counts[::-1])[::-1] for counts in (hits, others)])
    bets = np.logaddexp.reduce(_log_growth(np.minimum(HIGHER, 1 / rate), rate, *since), axis=1) - np.log(len(HIGHER))
    later = (1 - FIRST_SHARE) / (MAX_LOOKS - 1)
    shares = np.full(len(hits), later)
    shares[0] = FIRST_SHARE
    kept = later * (MAX_LOOKS - len(hits))  # for bets that have not begun
    begun = np.logaddexp.reduce(bets + np.log(shares))
    return float(np.logaddexp(begun, np.log(kept)) if kept else begun)


def _log_capital_of_lower(rate: float, hits: float, others: float) -> float:
    """Return the log of the capital of bets that the rate is lower."""
    growth = _log_growth(LOWER, rate, np.array([hits]), np.array([others]))
    return float(np.logaddexp.reduce(growth[0]) - np.log(len(LOWER)))


def _log_growth(factors: Floats, rate: float, hits: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> Floats:
    """Return the log of what each bet `(n_factors,)` made of its capital, `(n, n_factors)`, for counts `(n,)`."""
    with np.errstate(divide="ignore"):
        won, lost = np.log(factors), np.log1p(-np.minimum(factors * rate, 1.0)) - np.log1p(-rate)
    # Without hits the bet on 0 wins, and 0 times minus infinity should be 0.
    growth = np.where(hits[:, None] > 0, hits[:, None] * np.where(hits[:, None] > 0, won, 0.0), 0.0)
    return np.asarray(
        growth + np.where(others[:, None] > 0, others[:, None] * np.where(others[:, None] > 0, lost, 0), 0)
    )
