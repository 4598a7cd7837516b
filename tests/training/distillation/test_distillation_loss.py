import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import SequenceClassifierOutput

from specter_batch.training.distillation.loss import DistillationLoss, TaughtLabels
from specter_batch.training.papers.dataset import NO_LABEL

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.25, 0.0], [0.0, 3.0, 0.0]])
TEACHER = torch.tensor([[1.0, 1.0, 1.0], [3.0, -1.0, 0.0], [0.0, 3.0, 0.0]])
LABELS = torch.tensor([0, 2, NO_LABEL])


def loss_of(logits: torch.Tensor, *, share: float, temperature: float = 2.0, papers: int | None = None) -> float:
    loss = DistillationLoss(temperature=temperature, true_label_share=share)
    taught = TaughtLabels(label_ids=LABELS, teacher_logits=TEACHER)
    return float(loss(SequenceClassifierOutput(logits=logits), taught, papers))  # type: ignore[arg-type]


def divergence(temperature: float) -> torch.Tensor:
    """Return the Kullback-Leibler divergence by its definition, `(batch,)`."""
    student, teacher = ((one / temperature).softmax(dim=1) for one in (LOGITS, TEACHER))
    return (teacher * (teacher.log() - student.log())).sum(dim=1) * temperature**2


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_the_loss_is_the_divergence_from_the_teacher(temperature: float) -> None:
    assert loss_of(LOGITS, share=0, temperature=temperature) == pytest.approx(float(divergence(temperature).mean()))


def test_a_student_that_agrees_with_its_teacher_has_no_loss() -> None:
    # A number that is added to all logits of a paper changes no probability.
    assert loss_of(TEACHER + 4, share=0) == pytest.approx(0, abs=1e-6)


def test_true_labels_count_where_there_are_some() -> None:
    known = cross_entropy(LOGITS[:2], LABELS[:2], reduction="none")
    taught = divergence(2.0)
    expected = (0.25 * known + 0.75 * taught[:2]).sum() + taught[2]
    assert loss_of(LOGITS, share=0.25) == pytest.approx(float(expected) / 3)


def test_accumulated_batches_are_one_mean() -> None:
    assert loss_of(LOGITS, share=0.5, papers=6) == pytest.approx(loss_of(LOGITS, share=0.5) / 2)


def test_validation_papers_have_the_cross_entropy_of_their_labels() -> None:
    loss = DistillationLoss(temperature=2, true_label_share=0)
    outputs = SequenceClassifierOutput(logits=LOGITS)  # type: ignore[arg-type]
    labels = torch.tensor([0, 1, 1])
    assert float(loss(outputs, labels)) == pytest.approx(float(cross_entropy(LOGITS, labels)))
