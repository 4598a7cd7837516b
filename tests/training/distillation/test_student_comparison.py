from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specter_batch.errors import ConfigError, GateError
from specter_batch.metrics.f1 import Ints
from specter_batch.model.ranking import Predictions
from specter_batch.papers.labels import LabelSet
from specter_batch.training.distillation.comparison import (
    COMPARISON,
    StudentComparison,
    compare_with_teacher,
    comparison_in,
    refuse_f1_loss,
)
from specter_batch.training.run.lineage import DISTILLED_FROM

LABELS = LabelSet(names=("a", "b", "c"))
RUN = Path("student")


def predictions(label_ids: Ints) -> Predictions:
    return Predictions.from_logits(np.eye(3, dtype=np.float32)[label_ids] * 3, temperature=1.0)


def compared(*, papers: int, student_errors: float, teacher_errors: float = 0.2) -> StudentComparison:
    """Compare two models that label a share of the papers wrong, each its own."""
    random = np.random.default_rng(0)
    true = random.integers(0, 3, papers)

    def labelled(share: float) -> Ints:
        return np.where(random.random(papers) < share, (true + 1) % 3, true)

    found = compare_with_teacher(
        true,
        teacher=predictions(labelled(teacher_errors)),
        student=predictions(labelled(student_errors)),
        labels=LABELS,
        papers="validation",
        papers_per_second=(20.0, 42.0),
        device="cpu",
    )
    assert found is not None
    return found


def recorded(found: StudentComparison | None) -> dict[str, Any]:
    """Return the training of a run as it is in `run.json`."""
    return {DISTILLED_FROM: {"run": "teacher", COMPARISON: None if found is None else found.model_dump(mode="json")}}


def test_a_student_that_is_not_worse_passes_the_gate() -> None:
    found = compared(papers=20_000, student_errors=0.19)
    assert found.non_inferiority.verdict == "not worse"
    assert comparison_in(recorded(found)) == found
    refuse_f1_loss(recorded(found), max_loss=0.01, run=RUN)


@pytest.mark.parametrize(
    ("papers", "student_errors", "told"),
    [
        (20_000, 0.25, "the student loses more than 0.01 of macro F1 .* on 20,000 validation papers"),
        (300, 0.2, "it is not ruled out that .* more papers for `distill --val` make the interval narrower"),
    ],
)
def test_a_student_that_may_be_worse_fails_the_gate(papers: int, student_errors: float, told: str) -> None:
    found = compared(papers=papers, student_errors=student_errors)
    with pytest.raises(GateError, match=f"--max-f1-loss 0.01: student: {told}"):
        refuse_f1_loss(recorded(found), max_loss=0.01, run=RUN)
    refuse_f1_loss(recorded(found), max_loss=0.2, run=RUN)


def test_a_run_without_a_teacher_cannot_be_judged() -> None:
    with pytest.raises(ConfigError, match="student is no student, so it has no teacher"):
        refuse_f1_loss({}, max_loss=0.01, run=RUN)
    with pytest.raises(ConfigError, match="was not compared with its teacher"):
        refuse_f1_loss(recorded(None), max_loss=0.01, run=RUN)


def test_sentences_name_both_models_and_their_speeds() -> None:
    found = compared(papers=500, student_errors=0.3)
    f1 = found.compared.macro_f1
    assert f"the student has a macro F1 of {f1.b:.4f} and its teacher {f1.a:.4f}" in found.f1_sentence()
    assert "2.1 times as fast (42 and 20 papers/s)" in found.speed_sentence()
