"""The number of papers of a night that the fp32 graph labels too, and which papers these are."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.graph_names import Precision
from specter_batch.papers.text import text_hash
from specter_jobs.plan.audit_size import (
    COST,
    MAX_COST,
    MAX_COST_WITH_REUSE,
    MIN_PAPERS,
    AuditChoice,
    audit_size,
    night_key,
)

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


@given(st.integers(0, 10_000_000), st.integers(1, 10_000_000), st.sampled_from(FAST))
def test_in_a_night_that_reuses_labels_the_audit_takes_at_most_a_tenth_of_the_time_of_the_model(
    fresh: int, reused: int, precision: Precision
) -> None:
    papers = audit_size(None, fresh=fresh, precision=precision, reused=reused)
    assert (papers > 0) == (fresh > 0)
    assert (papers - 1) * COST[precision] <= MAX_COST_WITH_REUSE * fresh
    whole = audit_size(None, fresh=fresh, precision=precision)
    assert papers == whole if papers >= MIN_PAPERS else papers <= whole


def test_a_night_with_one_percent_of_new_papers_audits_few() -> None:
    assert audit_size(None, fresh=200, precision="int8", reused=19_800) == 7
    assert audit_size(0.25, fresh=200, precision="int8", reused=19_800) == 50


def test_every_night_chooses_other_papers_at_random() -> None:
    """The bounds of a series hold only if each night compares new random papers, although the dump stays the same."""
    hashes = [text_hash(f"text {number}") for number in range(2_000)]
    nights = [datetime.date(2026, 1, 1) + datetime.timedelta(days=day) for day in range(200)]
    choices = [AuditChoice(key=night_key(night), threshold=2**64 // 20) for night in nights]
    chosen = np.array([[choice.includes(text) for text in hashes] for choice in choices])
    assert abs(chosen.mean() - 1 / 20) < 0.001
    # A paper is chosen in 10 of 200 nights, and its nights do not depend on each other: variance 200 * 0.05 * 0.95.
    assert 7 < chosen.sum(axis=0).var() < 12
