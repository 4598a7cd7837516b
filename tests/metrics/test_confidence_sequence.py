"""The bounds of a rate hold after every look, also if the rate changes, and find a rate that is too high."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.metrics.confidence_sequence import (
    FIRST_SHARE,
    HIGHER,
    LOWER,
    MAX_LOOKS,
    Look,
    RateBounds,
    rate_bounds,
)

LIMIT = 0.005
CLEAR_LIMIT = 0.0005
FOUND = 20.0  # 1 / (1 - 0.95)
LATER = (1 - FIRST_SHARE) / (MAX_LOOKS - 1)

Capital = npt.NDArray[np.float64]


def capital(hits: npt.NDArray[np.int64], items: int, limit: float = LIMIT) -> Capital:
    """Return the capital `(n, n_looks)` that is bet against a limit after each look, for hits `(n, n_looks)`.

    This is the same game as in the module, written look by look.
    """
    bets = np.zeros((len(hits), len(HIGHER)))
    kept, after = 1.0, []
    for look in range(hits.shape[1]):
        share = FIRST_SHARE if look == 0 else LATER
        kept -= share
        won, lost = HIGHER, (1 - HIGHER * limit) / (1 - limit)
        found = hits[:, look, None]
        with np.errstate(over="ignore"):
            bets = (bets + share / len(HIGHER)) * won**found * lost ** (items - found)
        after.append(bets.sum(axis=1) + kept)
    return np.stack(after, axis=1)


def years(rates: Sequence[float], *, items: int, n: int = 1000, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return the hits of `n` simulated series of looks, `(n, n_looks)`."""
    return np.random.default_rng(seed).binomial(items, rates, size=(n, len(rates)))


def found_by(rates: Sequence[float], *, items: int, limit: float = LIMIT) -> Capital:
    """Return the share of simulated series that were found to be over a limit, after each look."""
    reached = capital(years(rates, items=items), items, limit) >= FOUND
    return np.maximum.accumulate(reached, axis=1).mean(axis=0)


def bounds(*looks: tuple[int, int]) -> RateBounds:
    return rate_bounds([Look(items=items, hits=hits) for items, hits in looks])


counts = st.integers(1, 3000).flatmap(lambda items: st.tuples(st.just(items), st.integers(0, min(items, 60))))


@settings(max_examples=50, deadline=None)
@given(st.lists(counts, max_size=6))
def test_the_bounds_are_between_0_and_1_and_at_the_end_of_what_the_bets_refute(looks: list[tuple[int, int]]) -> None:
    found = bounds(*looks)
    assert 0 <= found.low <= 1
    assert 0 <= found.high <= 1
    if len({items for items, _ in looks}) == 1 and 0 < found.low * HIGHER.max() < 1:
        hits = np.array([[hits for _, hits in looks]])
        assert capital(hits, looks[0][0], found.low)[0, -1] == pytest.approx(FOUND, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(counts, st.integers(1, 500))
def test_more_hits_never_lower_a_bound(look: tuple[int, int], items: int) -> None:
    one, more = bounds(look, (items, 0)), bounds(look, (items, 1))
    assert more.low >= one.low
    assert more.high >= one.high


def test_without_looks_nothing_is_known() -> None:
    nothing = bounds()
    assert nothing.low == 0
    assert nothing.high == pytest.approx(1)


def test_bounds_of_known_counts() -> None:
    # 598 items without a hit show 0.5 % at a single look. At any number of looks it takes about 800.
    assert bounds((598, 0)).high == pytest.approx(0.0066, abs=1e-4)
    assert bounds((800, 0)).high < LIMIT
    few = bounds((4000, 12))
    assert (few.low, few.high) == (pytest.approx(0.00102, abs=1e-5), pytest.approx(0.00631, abs=1e-5))
    assert bounds((3, 3)).low > 0.2


def test_more_looks_than_the_capital_is_divided_for_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 365"):
        bounds(*[(50, 0)] * (MAX_LOOKS + 1))


@pytest.mark.parametrize(("limit", "items"), [(LIMIT, 50), (LIMIT, 500), (CLEAR_LIMIT, 38), (CLEAR_LIMIT, 380)])
def test_false_alarms_in_a_year_at_the_limit_are_rare(limit: float, items: int) -> None:
    assert found_by([limit] * 365, items=items, limit=limit)[-1] < 0.05


def test_a_healthy_model_gives_no_alarm_in_a_year() -> None:
    assert found_by([0.003] * 365, items=50)[-1] < 0.002


def test_a_rate_that_changes_below_the_limit_gives_no_more_alarms() -> None:
    rates = np.random.default_rng(1).uniform(0, LIMIT, 365)
    assert found_by(list(rates), items=200)[-1] < 0.05
    assert found_by([0.0] * 100 + [LIMIT] * 265, items=200)[-1] < 0.05


def test_drawing_without_replacement_gives_no_more_alarms() -> None:
    hits = np.random.default_rng(0).hypergeometric(5, 995, 500, size=(1000, 365))  # half of 1,000 papers, 0.5 %
    assert (capital(hits, 500) >= FOUND).any(axis=1).mean() < 0.05


def test_the_upper_bound_is_rarely_below_a_rate_that_does_not_change() -> None:
    rate, items = 0.003, 200
    hits = years([rate] * 365, items=items).cumsum(axis=1)
    others = items * np.arange(1, 366) - hits
    with np.errstate(divide="ignore"):
        growth = [
            np.where((factor == 0) & (hits > 0), 0, max(factor, 1e-9) ** hits)
            * ((1 - factor * rate) / (1 - rate)) ** others
            for factor in LOWER
        ]
    assert (np.mean(growth, axis=0) >= FOUND).any(axis=1).mean() < 0.05


# The figures of docs/audit.md: papers a night, rate, nights, share of the simulated series that are found. Of 50, 200
# and 500 papers 38, 152 and 380 are clear.
@pytest.mark.parametrize(
    ("limit", "items", "rate", "nights", "share"),
    [
        (LIMIT, 50, 0.013, 5, 0.08), (LIMIT, 50, 0.013, 30, 0.73), (LIMIT, 50, 0.05, 5, 0.98),
        (LIMIT, 200, 0.013, 5, 0.48), (LIMIT, 200, 0.013, 30, 1.0),
        (LIMIT, 500, 0.013, 5, 0.92), (LIMIT, 500, 0.013, 30, 1.0),
        (CLEAR_LIMIT, 38, 0.01, 5, 0.35), (CLEAR_LIMIT, 38, 0.01, 10, 0.74),
        (CLEAR_LIMIT, 152, 0.01, 5, 0.95), (CLEAR_LIMIT, 152, 0.01, 10, 1.0),
        (CLEAR_LIMIT, 380, 0.01, 5, 1.0),
    ],
)  # fmt: skip
def test_a_rate_over_the_limit_is_found(limit: float, items: int, rate: float, nights: int, share: float) -> None:
    assert found_by([rate] * nights, items=items, limit=limit)[-1] == pytest.approx(share, abs=0.04)


def test_a_long_good_time_does_not_hide_a_bad_one() -> None:
    found = found_by([0.003] * 300 + [0.05] * 10, items=50)
    assert found[299] < 0.05
    assert found[-1] > 0.95
    risen = bounds(*[(50, 0)] * 300, *[(50, 3)] * 6)
    assert risen.has_risen
    assert risen.low > LIMIT > risen.high
