import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.metrics.binomial import most_events, upper_bound
from specter_export.certificate.margins import Agreement, candidate_margins, certified_margin

DELTA = 0.05
# A population of papers: margins are exponential, and a paper's label differs with a probability that falls with its
# margin. As measured on int8 graphs, about 1.6 % of labels differ without deferral.
MEAN_MARGIN, REACH, AT_A_TIE = 3.6, 0.12, 0.5
REPETITIONS = 2000


def population(generator: np.random.Generator, papers: int, *, everywhere: float = 0.0) -> Agreement:
    margin = generator.exponential(MEAN_MARGIN, papers)
    differs = generator.random(papers) < np.maximum(AT_A_TIE * np.exp(-margin / REACH), everywhere)
    return Agreement(margin=margin, differs=differs)


def true_share(margin: float, *, everywhere: float = 0.0) -> float:
    """Return the share of the population that gets another label with a deferral margin."""
    rate = 1 / MEAN_MARGIN + 1 / REACH
    if not everywhere:
        return float(AT_A_TIE / MEAN_MARGIN / rate * np.exp(-margin * rate))
    crossing = -REACH * np.log(everywhere / AT_A_TIE)
    near = AT_A_TIE / MEAN_MARGIN / rate * (np.exp(-margin * rate) - np.exp(-max(margin, crossing) * rate))
    return float(near + everywhere * np.exp(-max(margin, crossing) / MEAN_MARGIN))


@pytest.mark.parametrize(
    ("papers", "everywhere", "defers"),
    [(300, 0.0, True), (700, 0.0, True), (1000, 0.0, True), (4000, 0.0, True), (1000, 0.03, False)],
    ids=["too few for the target", "no disagreement allowed", "one allowed", "twelve allowed", "a graph that fails"],
)
def test_the_promise_is_broken_in_at_most_one_of_twenty_splits(papers: int, everywhere: float, defers: bool) -> None:
    generator = np.random.default_rng(papers)
    broken = reached = 0
    for _ in range(REPETITIONS):
        fitting = population(generator, 500, everywhere=everywhere)
        candidates = candidate_margins(fitting, 0.0) if defers else np.zeros(1)
        checking = population(generator, papers, everywhere=everywhere)
        bound = certified_margin(candidates, checking, target=0.005, delta=DELTA)
        broken += true_share(bound.margin, everywhere=everywhere) > bound.epsilon
        reached += bound.epsilon == 0.005
    sampling_error = 3 * np.sqrt(DELTA * (1 - DELTA) / REPETITIONS)
    assert broken / REPETITIONS <= DELTA + sampling_error
    assert broken > 0  # a promise that is never broken would be too cautious
    assert reached == (REPETITIONS if papers >= 598 and defers else 0)


def test_the_simulated_population_has_the_shares_that_are_computed_for_it() -> None:
    for everywhere in (0.0, 0.03):
        drawn = population(np.random.default_rng(0), 2_000_000, everywhere=everywhere)
        for margin in (0.0, 0.1, 0.5):
            share = drawn.disagreements(np.array([margin]))[0] / len(drawn)
            assert share == pytest.approx(true_share(margin, everywhere=everywhere), rel=0.05, abs=1e-4)


agreements = st.lists(st.tuples(st.floats(0, 8, width=16), st.booleans()), min_size=1, max_size=300).map(
    lambda rows: Agreement(margin=np.array([m for m, _ in rows]), differs=np.array([d for _, d in rows]))
)


@given(fitting=agreements, checking=agreements, fitted=st.floats(0, 4, width=16), target=st.floats(0.001, 0.3))
def test_the_narrowest_margin_that_the_papers_show_is_chosen(
    fitting: Agreement, checking: Agreement, fitted: float, target: float
) -> None:
    candidates = candidate_margins(fitting, fitted)
    assert candidates[-1] == fitted
    assert (np.diff(candidates) < 0).all()
    bound = certified_margin(candidates, checking, target=target, delta=DELTA)
    assert bound.upper_bound <= bound.epsilon
    assert bound.disagreements == int((checking.differs & (checking.margin >= bound.margin)).sum())
    allowed = most_events(len(checking), max(target, upper_bound(0, len(checking), delta=DELTA)), delta=DELTA)
    for margin in candidates[candidates < bound.margin][:1]:
        assert int((checking.differs & (checking.margin >= margin)).sum()) > allowed
    if bound.epsilon > target and bound.disagreements:
        assert bound.margin == candidates[0]


def test_a_value_that_is_not_finite_is_run_again_and_counts_without_deferral() -> None:
    fast = np.array([[np.nan, 1.0], [2.0, 1.0], [1.0, 2.0]], dtype=np.float32)
    exact = np.array([[0.0, 1.0], [2.0, 1.0], [2.0, 1.0]], dtype=np.float32)
    agreement = Agreement.of(fast, exact)
    assert agreement.disagreements(np.array([2.0, 1.0, 0.5, 0.0])).tolist() == [0, 1, 1, 2]
    assert [agreement.deferred(margin) for margin in (2.0, 0.5, 0.0)] == [3, 1, 0]
