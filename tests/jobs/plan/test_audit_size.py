"""The number of papers of a night that the fp32 graph labels too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.graph_names import Precision
from specter_jobs.plan.audit_size import COST, MAX_COST, MIN_PAPERS, audit_size

FAST: list[Precision] = ["int8", "fp16"]


@pytest.mark.parametrize(
    ("share", "fresh", "precision", "papers"),
    [
        (None, 0, "int8", 0),
        (None, 30, "int8", 30),  # never more than there are
        (None, 20_000, "int8", 50),
        (None, 1_000_000, "int8", 2_000),
        (None, 1_000_000, "fp16", 1_112),  # fp32 costs more, compared with fp16
        (0.0, 20_000, "int8", 0),
        (0.025, 20_000, "int8", 500),
        (1.0, 7, "fp16", 7),
        (1.0, 7, "fp32", 0),  # nothing to compare with
    ],
)
def test_known_sizes(share: float | None, fresh: int, precision: Precision, papers: int) -> None:
    assert audit_size(share, fresh=fresh, precision=precision) == papers


@given(st.integers(0, 10_000_000), st.sampled_from(FAST))
def test_the_default_costs_at_most_one_percent_of_a_night_that_is_not_small(fresh: int, precision: Precision) -> None:
    papers = audit_size(None, fresh=fresh, precision=precision)
    assert min(fresh, MIN_PAPERS) <= papers <= fresh
    assert papers in (MIN_PAPERS, fresh) or (papers - 1) * COST[precision] <= MAX_COST * fresh
