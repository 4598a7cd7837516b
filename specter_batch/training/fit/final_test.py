"""The test at the end of a training run: the finished model is scored once, on papers that decided nothing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specter_batch.errors import ConfigError
from specter_batch.model.session import Logits
from specter_batch.papers.labels import LabelSet
from specter_batch.training.evaluation.answers import Answers
from specter_batch.training.papers.labelled import COPIES_COUNT, LabelledPapers


@dataclass(frozen=True, kw_only=True)
class FinalTest:
    """The test papers of a run. Neither the weights nor the best epoch nor the temperature depend on them.

    Attributes:
        papers: The test papers.
        seen: True for papers that are in the training papers, in the validation papers, or in the papers of a run that
            the encoder comes from, `(n_papers,)`. They are counted and not scored.
        notes: Sentences that a user should read.
    """

    papers: LabelledPapers
    seen: npt.NDArray[np.bool_]
    notes: tuple[str, ...]

    @classmethod
    def prepared(
        cls,
        papers: LabelledPapers,
        labels: LabelSet,
        *,
        train_papers: LabelledPapers,
        val_papers: LabelledPapers,
        inherited: npt.NDArray[np.uint64],
    ) -> "FinalTest":
        """Check the test papers before training starts.

        Args:
            papers: The test papers.
            labels: Label set of the model.
            train_papers: Papers to train on.
            val_papers: Papers on which the best epoch is chosen.
            inherited: Sorted hashes of the texts that the encoder was trained on before, `(n_texts,)`.

        Raises:
            ConfigError: No test paper would be scored, because all were trained or validated on.
            LabelError: No test paper has a label of the model.
        """
        if (papers.known_label_ids(labels) < 0).all():
            raise papers.unknown_error(labels)
        trained = papers.seen_by(train_papers.seen_hashes()) | papers.seen_by(inherited)
        validated = papers.seen_by(val_papers.seen_hashes()) & ~trained
        found = (
            (int(trained.sum()), "the model is trained on"),
            (int(validated.sum()), "the best epoch is chosen on"),
        )
        counted = " and ".join(f"{why} {count:,}" for count, why in found if count)
        seen = trained | validated
        if seen.all():
            raise ConfigError(
                f"{papers.source}: no test paper can be scored: {counted} of its {len(papers):,} papers; give other "
                "papers with --test, for example those of `specter-batch split`"
            )
        unknown = sum(papers.unknown_labels(labels).values())
        notes = (
            *((f"{counted} of {len(papers):,} test papers; the test score leaves them out",) if counted else ()),
            *(
                (f"{unknown:,} test papers have a label that no training paper has; they are not scored",)
                if unknown
                else ()
            ),
            *papers.note_on_copies(COPIES_COUNT),
        )
        return cls(papers=papers, seen=seen, notes=tuple(f"{papers.source}: {note}" for note in notes))

    def facts(self, logits: Logits, labels: LabelSet, *, temperature: float, validation_papers: int) -> dict[str, Any]:
        """Return what the record of the run says about the test: the figures of `evaluate` and the hash of the papers.

        Args:
            logits: Logits of the test papers, `(n_papers, n_labels)`.
            labels: Label set of the model.
            temperature: Temperature that was fitted to the validation papers.
            validation_papers: Number of validation papers.
        """
        answers = Answers(
            logits=logits,
            true=self.papers.known_label_ids(labels),
            seen=self.seen,
            unknown=self.papers.unknown_labels(labels),
            labels=labels,
            temperature=temperature,
            logit_divisor=temperature,
            validation_papers=validation_papers,
        )
        return {
            "test": answers.figures(None).model_dump(mode="json"),
            "test_papers": len(self.papers),
            "test_sha256": self.papers.content_sha256(),
            "test_file": self.papers.file_name,
        }


def result_of_test(test: dict[str, Any]) -> str:
    """Return the result of a test in words, from the record of a run."""
    if test["macro_f1"] is None:
        return "test: no unseen papers to score"
    interval = test["macro_f1_interval"]
    return (
        f"test: macro F1 {test['macro_f1']:.4f} ({100 * interval['level']:g} % interval {interval['low']:.4f} to "
        f"{interval['high']:.4f}), accuracy {test['accuracy']:.4f}, on {test['scored_papers']:,} papers that decided "
        "nothing in the training"
    )
