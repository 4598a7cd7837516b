import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from specter_batch.metrics.binomial import papers_needed, upper_bound


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.001, 0.5))
def test_the_bound_is_that_of_clopper_and_pearson(counts: tuple[int, int], delta: float) -> None:
    events, papers = counts
    expected = 1.0 if events == papers else beta.ppf(1 - delta, events + 1, papers - events)
    assert upper_bound(events, papers, delta=delta) == pytest.approx(expected, abs=1e-9)


def test_the_papers_that_half_a_percent_needs() -> None:
    assert papers_needed(0.005, delta=0.05) == 598
    assert upper_bound(0, 598, delta=0.05) <= 0.005 < upper_bound(0, 597, delta=0.05)
    assert upper_bound(12, 4000, delta=0.05) <= 0.005 < upper_bound(13, 4000, delta=0.05)


@pytest.mark.parametrize("share", [0.0, 5e-324, 1e-12])
def test_no_number_of_papers_shows_that_next_to_nothing_differs(share: float) -> None:
    assert papers_needed(share, delta=0.05) is None


def test_no_papers_are_needed_to_show_that_at_most_all_labels_differ() -> None:
    assert papers_needed(1.0, delta=0.05) == 0


@given(st.floats(0.0005, 0.5), st.floats(0.001, 0.5))
def test_one_paper_fewer_than_needed_does_not_show_the_share(share: float, delta: float) -> None:
    needed = papers_needed(share, delta=delta)
    assert needed is not None
    assert upper_bound(0, needed, delta=delta) <= share
    if needed > 1:
        assert upper_bound(0, needed - 1, delta=delta) >= share * (1 - 1e-9)
