"""The loss of a student: its distance from the teacher's logits, mixed with the true labels."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from specter_batch.training.distillation.settings import StudentSettings


@dataclass(frozen=True, kw_only=True)
class TaughtLabels:
    """What a student should learn of the papers of a batch.

    Attributes:
        label_ids: True label ids, `(batch,)` int64; `NO_LABEL` for papers without a label.
        teacher_logits: The teacher's logits, `(batch, n_labels)` float32.
    """

    label_ids: torch.Tensor
    teacher_logits: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class DistillationLoss:
    """The loss that the Trainer calls with outputs and labels.

    Attributes:
        temperature: Divisor of the logits of student and teacher.
        true_label_share: Share of the cross entropy of the true label in the loss of a paper that has one.
    """

    temperature: float
    true_label_share: float

    @classmethod
    def of(cls, settings: StudentSettings) -> "DistillationLoss":
        """Make the loss that the settings describe."""
        return cls(temperature=settings.distillation_temperature, true_label_share=settings.true_label_share)

    def __call__(
        self,
        outputs: SequenceClassifierOutput,
        labels: TaughtLabels | torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the mean loss of a batch; for validation papers, which have only labels, it is the cross entropy."""
        logits = outputs["logits"].float()
        if isinstance(labels, torch.Tensor):
            return nn.functional.cross_entropy(logits, labels)
        taught = self._divergence(logits, labels.teacher_logits)
        # A paper without a label has any label here, and a weight of 0.
        share = self.true_label_share * (labels.label_ids >= 0)
        known = nn.functional.cross_entropy(logits, labels.label_ids.clamp(min=0), reduction="none")
        total = ((1 - share) * taught + share * known).sum()
        # The number includes all accumulated batches, so that accumulation equals one large batch.
        return total / (len(logits) if num_items_in_batch is None else num_items_in_batch)

    def _divergence(self, logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        """Return the Kullback-Leibler divergence of each paper, `(batch,)`.

        The square of the temperature makes up for the gradients, which get smaller by it (Hinton et al. 2015).
        """
        student, teacher = ((one / self.temperature).log_softmax(dim=1) for one in (logits, teacher_logits))
        divergence = nn.functional.kl_div(student, teacher, reduction="none", log_target=True)
        return divergence.sum(dim=1) * self.temperature**2
