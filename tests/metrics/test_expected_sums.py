"""The sums that accuracy and F1 are estimated from: they add up, and sums that cannot be right are recognised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.metrics.expected_sums import ExpectedSums
from specter_batch.model.ranking import Predictions


def sums_of(found: Predictions, rows: slice) -> ExpectedSums:
    return ExpectedSums.count(found.label_id[rows], found.score[rows], found.probabilities[rows])


@given(seed=st.integers(0, 1000), papers=st.integers(0, 30), cut=st.integers(0, 30))
def test_the_sums_of_parts_add_up_and_fit(seed: int, papers: int, cut: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(papers, 4)).astype(np.float32) * 5
    found = Predictions.from_logits(logits, temperature=1.5)
    whole, parts = sums_of(found, slice(None)), sums_of(found, slice(cut)) + sums_of(found, slice(cut, None))
    counts = np.bincount(found.label_id, minlength=4).tolist()
    assert whole.fits(counts) and parts.fits(counts)
    assert parts.expected_papers == pytest.approx(whole.expected_papers)
    assert sum(whole.expected_hits) == pytest.approx(found.score.sum())
    assert not whole.model_copy(update={"score_variance": papers + 1.0}).fits(counts)
    assert not whole.model_copy(update={"expected_hits": (*whole.expected_hits[:3], papers + 1.0)}).fits(counts)
    assert not whole.fits([*counts[:3], counts[3] + 1])
