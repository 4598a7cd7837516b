"""The worker's part of the audit: some fresh papers of each shard are labelled by the fp32 graph too."""

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.ranking import Predictions
from specter_batch.model.tokens.encoding import TokenIds
from specter_jobs.label.screened_shard import AuditAnswers, ScreenedShard
from specter_jobs.output.report_model.audit import CLEAR_RATIO
from specter_jobs.plan.audit_size import AuditChoice
from specter_jobs.plan.shards import Mask


class Auditor:
    """Labels some papers of each shard with the fp32 graph.

    Args:
        classifier: The classifier that labels the shards. Its graph is not the fp32 graph.
    """

    def __init__(self, classifier: OnnxClassifier) -> None:
        self._exact = classifier.exact()

    def answers(
        self, screened: ScreenedShard, token_ids: Sequence[TokenIds], predictions: Predictions, *, choice: AuditChoice
    ) -> AuditAnswers:
        """Return the fp32 graph's labels of the chosen papers.

        Papers that were too close to call have the fp32 graph's label already, and are not run again.

        Args:
            screened: The shard.
            token_ids: Token ids of its fresh papers.
            predictions: Predictions of its fresh papers.
            choice: Which papers are chosen.
        """
        began = time.monotonic()
        hashes = [screened.hashes[position] for position in screened.fresh]
        chosen = np.array([at for at, text_hash in enumerate(hashes) if choice.includes(text_hash)], dtype=np.int64)
        deferred = _deferred(predictions)[chosen]
        label_id = predictions.label_id[chosen]
        rows = chosen[~deferred]
        logits = self._exact.logits([token_ids[row] for row in rows])
        label_id[~deferred] = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1)
        return AuditAnswers(
            positions=np.array(screened.fresh, dtype=np.int64)[chosen],
            deferred=deferred,
            clear=~deferred & _is_clear(predictions.probabilities[chosen]),
            label_id=label_id,
            seconds=time.monotonic() - began,
        )

    def close(self) -> None:
        """Stop the threads of the fp32 graph."""
        self._exact.close()


def _deferred(predictions: Predictions) -> Mask:
    if predictions.deferred is None:
        return np.zeros(len(predictions.label_id), np.bool_)
    return predictions.deferred


def _is_clear(probabilities: npt.NDArray[np.float64]) -> Mask:
    """Return whether papers are clear, `(n,)` bool, from the probabilities of all labels `(n, n_labels)`."""
    second, best = np.partition(probabilities, -2, axis=1)[:, -2:].T
    return np.asarray(best >= CLEAR_RATIO * second)
