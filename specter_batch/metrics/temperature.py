"""Fits the temperature that calibrates the scores."""

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from specter_batch.metrics.f1 import Ints, softmax


def fit_temperature(logits: np.ndarray[Any, np.dtype[np.float64]], true: Ints) -> float:
    """Return the temperature that makes the true labels of the papers most likely (Guo et al. 2017).

    Args:
        logits: Logits of the papers, `(n, n_labels)`.
        true: True label ids, `(n,)`.
    """

    def negative_log_likelihood(log_temperature: float) -> float:
        probabilities = softmax(logits, temperature=float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(probabilities[np.arange(len(true)), true], 1e-12)).mean())

    # Bounds of 1/20 and 20. Outside of them all scores would be 1, or all would be equal.
    minimum = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(minimum.x))
