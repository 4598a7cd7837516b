"""Newton's method for a one-against-the-rest linear SVM with the squared hinge loss, in the primal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsyrk
from scipy.optimize import brentq

from specter_batch.metrics.f1 import Ints
from specter_batch.model.session import Embeddings

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# A fit has converged when the next step would lower the objective by less than this share of it.
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class SvmWeights:
    """A linear SVM for one value of C.

    Attributes:
        label_ids: Ids of the labels that have training papers, in order, `(n_labels,)`.
        weights: Weights of each of these labels against the rest, the intercept last, `(n_labels, hidden_size + 1)`.
        unconverged: Number of labels whose weights had not converged after the largest number of steps.
    """

    label_ids: Ints
    weights: Floats
    unconverged: int

    def predict(self, embeddings: Embeddings) -> Ints:
        """Return the label ids `(n,)` of embeddings `(n, hidden_size)`."""
        scores = embeddings @ self.weights[:, :-1].T + self.weights[:, -1]
        return np.asarray(self.label_ids[scores.argmax(axis=1)], dtype=np.int64)


def fit_for_each_c(
    embeddings: Embeddings, label_ids: Ints, c_values: Sequence[float], *, max_steps: int
) -> list[SvmWeights]:
    """Fit an SVM for each value of C, from the smallest, each from the weights of the one before it.

    Args:
        embeddings: Embeddings of the papers, `(n, hidden_size)`.
        label_ids: Label ids of the papers, `(n,)`.
        c_values: Values of C, in ascending order.
        max_steps: Largest number of Newton steps for one label and one C.
    """
    features = np.ones((embeddings.shape[0], embeddings.shape[1] + 1))
    features[:, :-1] = embeddings
    papers = _Papers(features)
    present = np.unique(label_ids)
    weights = np.zeros((len(c_values), len(present), features.shape[1]))
    unconverged = np.zeros(len(c_values), dtype=np.int64)
    for row, label_id in enumerate(present):
        signs = np.where(label_ids == label_id, 1.0, -1.0)
        latest = np.zeros(features.shape[1])
        for column, c in enumerate(c_values):
            latest, converged = papers.fit(signs, c=c, start=latest, max_steps=max_steps)
            weights[column, row] = latest
            unconverged[column] += not converged
    return [
        SvmWeights(label_ids=present, weights=of_c, unconverged=int(count))
        for of_c, count in zip(weights, unconverged, strict=True)
    ]


class _Papers:
    """The papers, which all labels and all values of C share.

    The objective of a label is `|w|² / 2 + C Σ max(0, 1 - y wᵀx)²`, where y is 1 for papers of the label and -1 for all
    others. Only papers whose margin `y wᵀx` is below 1 add to the loss, so a Newton step is a ridge regression on these
    papers. If the same papers add to the loss afterwards, the minimum is reached exactly. This is the method of
    Keerthi and DeCoste 2005 (https://www.jmlr.org/papers/v6/keerthi05a.html). We solve the regression directly, which
    is cheap for the few hundred numbers of an embedding. A step that passes the lowest point on its way ends there.
    """

    def __init__(self, features: Floats) -> None:
        self._features = features
        self._products = _products(features)

    def fit(self, signs: Floats, *, c: float, start: Floats, max_steps: int) -> tuple[Floats, bool]:
        """Return the weights `(n_features,)` of one label, and whether they have converged."""
        weights = start
        margins = signs * (self._features @ weights)
        for _ in range(max_steps):
            in_loss = margins < 1
            goal = self._ridge_regression(signs, in_loss, c)
            goal_margins = signs * (self._features @ goal)
            if ((goal_margins < 1) == in_loss).all():
                return goal, True
            direction, change = goal - weights, goal_margins - margins
            slope = _slope(weights, direction, margins, change, c)
            # The ridge regression expects to lower the objective by half of its slope.
            if -slope(0.0) <= 2 * _TOLERANCE * _objective(weights, margins, c):
                return weights, True
            step = 1.0 if slope(1.0) <= 0 else brentq(slope, 0.0, 1.0, xtol=1e-6)
            weights, margins = weights + step * direction, margins + step * change
        return weights, False

    def _ridge_regression(self, signs: Floats, in_loss: Mask, c: float) -> Floats:
        """Return the weights `(n_features,)` that minimize the objective if exactly the papers `in_loss` add to it."""
        few = in_loss.sum() * 2 <= len(in_loss)  # then their products are cheaper than those of the other papers
        products = _products(self._features[in_loss]) if few else self._products - _products(self._features[~in_loss])
        system = 2 * c * products
        system[np.diag_indices_from(system)] += 1
        factor = cho_factor(system, overwrite_a=True, check_finite=False)
        solved: Floats = cho_solve(factor, 2 * c * ((signs * in_loss) @ self._features), check_finite=False)
        return solved


def _products(features: Floats) -> Floats:
    """Return the upper triangle of `featuresᵀ features`, `(n_features, n_features)`."""
    if not len(features):
        return np.zeros((features.shape[1], features.shape[1]), order="F")
    products: Floats = dsyrk(1.0, features.T)
    return products


def _objective(weights: Floats, margins: Floats, c: float) -> float:
    slack = np.maximum(0.0, 1.0 - margins)
    return float(weights @ weights / 2 + c * slack @ slack)


def _slope(weights: Floats, direction: Floats, margins: Floats, change: Floats, c: float) -> Callable[[float], float]:
    """Return the derivative of the objective along a direction, by the length of the step.

    Args:
        weights: Weights where the line begins, `(n_features,)`.
        direction: Change of the weights in a step of length 1, `(n_features,)`.
        margins: Margin of each paper with these weights, `(n,)`.
        change: Change of each margin in a step of length 1, `(n,)`.
        c: Weight of the loss.
    """
    at_start, rise = float(weights @ direction), float(direction @ direction)

    def slope(step: float) -> float:
        slack = np.maximum(0.0, 1.0 - margins - step * change)
        return at_start + step * rise - 2 * c * float(slack @ change)

    return slope
