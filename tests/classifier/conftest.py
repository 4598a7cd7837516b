"""A classifier with the golden bundle, which needs no training."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from specter_batch import Classifier

GOLDEN_BUNDLE = Path(__file__).parents[1] / "golden/bundle_v1"


@pytest.fixture(scope="session")
def classifier() -> Iterator[Classifier]:
    with Classifier.load(GOLDEN_BUNDLE, device="cpu", threads=1) as classifier:
        yield classifier
