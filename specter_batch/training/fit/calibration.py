"""The temperature that makes scores mean what they say."""

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from specter_batch.metrics.f1 import Ints, softmax


def fit_temperature(logits: np.ndarray[Any, np.dtype[np.float64]], true: Ints) -> float:
    """Return the temperature that makes the papers' true labels likeliest (Guo et al. 2017).

    Args:
        logits: `(n, n_labels)`.
        true: `(n,)` label ids.
    """

    def negative_log_likelihood(log_temperature: float) -> float:
        probabilities = softmax(logits, temperature=float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(probabilities[np.arange(len(true)), true], 1e-12)).mean())

    # Between a twentieth and twenty: outside, the scores would all be 1 or all be equal.
    minimum = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(minimum.x))
