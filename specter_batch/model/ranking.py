"""Labels, scores and rankings of papers, as they follow from the logits of a model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.f1 import softmax


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The most likely labels of papers, the best one first.

    Attributes:
        label_id: Label ids `(n, k)` int64.
        score: Calibrated probabilities of these labels, `(n, k)` float64.
    """

    label_id: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        label_id: npt.NDArray[np.int64],
        ordered_by: npt.NDArray[Any],
        probabilities: npt.NDArray[np.float64],
        *,
        k: int,
    ) -> "Ranking":
        """Rank the labels of papers. Of labels with equal values, the label with the lower id comes first.

        Args:
            label_id: Predicted label id, `(n,)`; it is always the first of the ranking.
            ordered_by: The values to order the labels by, `(n, n_labels)`: logits, or probabilities if there are none.
            probabilities: Calibrated probabilities of all labels, `(n, n_labels)`.
            k: The number of labels to keep for each paper, at least 2 for `runner_up` and `margin`.
        """
        keys = -np.asarray(ordered_by, dtype=np.float64)
        keys[np.arange(len(keys)), label_id] = -np.inf
        order = np.argsort(keys, axis=1, kind="stable")[:, :k].astype(np.int64)
        return cls(label_id=order, score=np.take_along_axis(probabilities, order, axis=1))

    @property
    def runner_up(self) -> npt.NDArray[np.int64]:
        """The second most likely label of each paper, `(n,)` int64."""
        return self.label_id[:, 1]

    @property
    def margin(self) -> npt.NDArray[np.float64]:
        """The probability of the best label minus that of the second, `(n,)` float64 from 0 to 1."""
        return np.asarray(np.maximum(self.score[:, 0] - self.score[:, 1], 0))


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The model's predictions for papers, in input order.

    Attributes:
        logits: The logits of the graph, `(n, n_labels)` float32. All other fields follow from them.
        label_id: Predicted label id, `(n,)` int64.
        score: Calibrated probability of the predicted label, `(n,)` float64.
        probabilities: Calibrated probabilities of all labels, `(n, n_labels)` float64.
        is_finite: False if a logit of the paper is NaN or infinite, `(n,)` bool. Such a paper has no label. Its
            `label_id`, score and probabilities are computed from equal logits and must be ignored.
        embeddings: Vector of each paper, from the graph that gave its label, `(n, hidden_size)` float32; None if they
            were not asked for.
        deferred: True if the two best labels of the paper were too close to call, so that the fp32 graph gave its
            logits, `(n,)` bool; None if the logits do not come from the model.
    """

    logits: npt.NDArray[np.float32]
    label_id: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    is_finite: npt.NDArray[np.bool_]
    embeddings: npt.NDArray[np.float32] | None = None
    deferred: npt.NDArray[np.bool_] | None = None

    @classmethod
    def from_logits(
        cls,
        logits: npt.NDArray[Any],
        *,
        temperature: float,
        embeddings: npt.NDArray[np.float32] | None = None,
        deferred: npt.NDArray[np.bool_] | None = None,
    ) -> "Predictions":
        """Return the predictions for logits `(n, n_labels)`, with probabilities scaled by the temperature.

        The same logits give the same values bit for bit, whether they come from the model or from a label file.
        """
        with np.errstate(over="ignore"):  # a very small temperature turns finite logits into infinities
            is_finite = np.asarray(np.isfinite(logits.astype(np.float64) / temperature).all(axis=1), dtype=np.bool_)
        usable = np.where(is_finite[:, None], logits, 0)
        probabilities = softmax(usable, temperature=temperature)
        label_id = usable.argmax(axis=1).astype(np.int64)
        return cls(
            logits=np.asarray(logits, dtype=np.float32),
            label_id=label_id,
            score=probabilities[np.arange(len(label_id)), label_id],
            probabilities=probabilities,
            is_finite=is_finite,
            embeddings=embeddings,
            deferred=deferred,
        )

    def ranking(self, *, k: int = 2) -> Ranking:
        """Return the `k` most likely labels of each paper. With 2, they give the runner-up and the margin."""
        return Ranking.of(self.label_id, self.logits, self.probabilities, k=k)
