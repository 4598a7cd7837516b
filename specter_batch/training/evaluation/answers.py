"""The answers of a model for labelled papers: its logits next to the true labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.metrics.f1 import Ints
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.ranking import Predictions
from specter_batch.model.session import Logits
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.papers.labels import LabelSet
from specter_batch.training.evaluation.figures import EvaluationSettings, figures
from specter_batch.training.evaluation.report_model import ScoredPapers
from specter_batch.training.papers.labelled import LabelledPapers
from specter_batch.training.run.folder import TrainingRun


class Classifier(Protocol):
    """A model that computes logits from token ids."""

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return the logits `(n, n_labels)` float32 of papers, given as token ids, in input order."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The logits of a model for papers, together with the true labels.

    Attributes:
        logits: Logits of the papers, `(n, n_labels)`.
        true: True label ids, `(n,)`; -1 if the model does not know the label.
        seen: True for papers that were trained on, `(n,)` bool.
        unknown: Label that the model does not know -> number of papers with it.
        labels: The labels in the order of the logits.
        temperature: Temperature of the model.
        logit_divisor: Divisor of these logits.
        validation_papers: Number of papers that the model was calibrated on; None if it is not known.
    """

    logits: Logits
    true: Ints
    seen: npt.NDArray[np.bool_]
    unknown: Mapping[str, int]
    labels: LabelSet
    temperature: float
    logit_divisor: float
    validation_papers: int | None

    @classmethod
    def of(cls, classifier: Classifier, labelled: LabelledPapers, model: ModelBundle | TrainingRun) -> "Answers":
        """Label papers with a model.

        Raises:
            LabelError: The model knows none of the papers' labels.
        """
        true = labelled.known_label_ids(model.labels)
        if (true < 0).all():
            raise labelled.unknown_error(model.labels)
        training = model.manifest.training if isinstance(model, ModelBundle) else model.record.training
        return cls(
            logits=classifier.logits(model.text_encoder().encode(labelled.texts(model.text_template))),
            true=true,
            seen=labelled.seen_by(model.seen_texts(), template=model.text_template),
            unknown=labelled.unknown_labels(model.labels),
            labels=model.labels,
            temperature=model.temperature,
            logit_divisor=model.logit_divisor,
            validation_papers=training.get("validation_papers"),
        )

    def figures(self, settings: EvaluationSettings | None) -> ScoredPapers:
        """Compute the figures of the papers whose label the model knows and whose logits are finite."""
        known = self.true >= 0
        is_finite = Predictions.from_logits(self.logits, temperature=self.logit_divisor).is_finite
        scored = known & is_finite
        scores = figures(
            self.logits[scored],
            self.true[scored],
            seen=self.seen[scored],
            temperature=self.temperature,
            logit_divisor=self.logit_divisor,
            labels=self.labels,
            settings=settings or EvaluationSettings(),
            validation_papers=self.validation_papers,
        )
        return ScoredPapers(
            **dict(scores),
            not_finite=int((known & ~is_finite).sum()),
            unknown_labels=sum(self.unknown.values()),
            unknown_label_papers={self.labels.described(name): self.unknown[name] for name in self.unknown},
        )

    def table(self, labelled: LabelledPapers) -> pa.Table:
        """Return the predictions of all papers, as in `Evaluation.predictions`."""
        predictions = Predictions.from_logits(self.logits, temperature=self.logit_divisor)
        ranking = predictions.ranking()
        names = pa.array(self.labels.names)
        known = names.take(pa.array(self.true, mask=self.true < 0))
        return pa.table(
            {
                "paper_id": labelled.papers["paper_id"],
                "label": pc.coalesce(known, labelled.papers["label"]),
                "predicted": names.take(pa.array(predictions.label_id, mask=~predictions.is_finite)),
                "score": pa.array(predictions.score, mask=~predictions.is_finite),
                "seen": self.seen,
                "runner_up": names.take(pa.array(ranking.runner_up, mask=~predictions.is_finite)),
                "margin": pa.array(ranking.margin, mask=~predictions.is_finite),
            }
        )
