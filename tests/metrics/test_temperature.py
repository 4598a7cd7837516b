import numpy as np
import pytest

from specter_batch.metrics.f1 import softmax
from specter_batch.metrics.temperature import fit_temperature


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2.0 * temperature, size=(20_000, 5))
    probabilities = softmax(logits, temperature=temperature)
    true = (probabilities.cumsum(axis=1) < generator.random((20_000, 1))).sum(axis=1)
    assert fit_temperature(logits, true) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("confidence", [0.2, 1.0, 10.0])
def test_the_fitted_temperature_never_makes_the_labels_less_likely(confidence: float) -> None:
    generator = np.random.default_rng(1)
    true = generator.integers(0, 4, size=500)
    logits = confidence * (generator.normal(size=(500, 4)) + 1.5 * np.eye(4)[true])

    def negative_log_likelihood(temperature: float) -> float:
        return float(-np.log(softmax(logits, temperature=temperature)[np.arange(500), true]).mean())

    fitted = fit_temperature(logits, true)
    assert negative_log_likelihood(fitted) <= negative_log_likelihood(1.0) + 1e-9


def test_a_faultless_model_gets_a_finite_temperature() -> None:
    true = np.arange(8) % 4
    assert 0.05 <= fit_temperature(9.0 * np.eye(4)[true], true) < 1.0
