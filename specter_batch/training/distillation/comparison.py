"""Compares a student with its teacher on the same papers: scores, calibration, agreement and speed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from specter_batch.errors import ConfigError, GateError
from specter_batch.metrics.f1 import F1Report, Ints, Tally
from specter_batch.metrics.non_inferiority import NonInferiority, non_inferiority
from specter_batch.metrics.paired import PairedComparison, compare_predictions
from specter_batch.model.ranking import Predictions
from specter_batch.papers.labels import LabelSet
from specter_batch.training.run.lineage import DISTILLED_FROM

# Where `run.json` and `bundle.json` keep the comparison, below `DISTILLED_FROM`.
COMPARISON = "comparison"
# The option of `distill` that gives the papers of a comparison.
_OPTIONS = {"validation": "val", "test": "test"}
# A student is as good as its teacher if the papers show that it loses at most this macro F1.
MARGIN = 0.01


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StudentComparison(_Frozen):
    """A student (B) and its teacher (A) on the same papers, which neither was trained on. Differences are B minus A.

    Attributes:
        papers: Which papers these are: `validation` papers, on which the best epoch was chosen, or `test` papers.
        compared: Scores, agreement and McNemar's test.
        non_inferiority: Whether the student loses at most `MARGIN` of macro F1.
        calibration_errors: Expected calibration error of teacher and student, with the temperature of each.
        papers_per_second: Speed of teacher and student in PyTorch on this machine, measured in turns.
        device: Device of that measurement.
    """

    papers: Literal["validation", "test"]
    compared: PairedComparison
    non_inferiority: NonInferiority
    calibration_errors: tuple[float, float]
    papers_per_second: tuple[float, float]
    device: str

    @property
    def speed(self) -> float:
        """How many times as fast as the teacher the student is."""
        teacher, student = self.papers_per_second
        return student / teacher

    def f1_sentence(self) -> str:
        """Return the macro F1 of both."""
        f1 = self.compared.macro_f1
        return (
            f"on {self.compared.papers:,} {self.papers} papers the student has a macro F1 of {f1.b:.4f} and its "
            f"teacher {f1.a:.4f}"
        )

    def verdict(self) -> str:
        """Return whether the student is as good as its teacher, as far as the papers show, and the difference."""
        return self.non_inferiority.sentence(a="its teacher", b="the student")

    def speed_sentence(self) -> str:
        """Return how often both agree, and how fast they are."""
        teacher, student = self.papers_per_second
        return (
            f"both give the same label to {self.compared.agreement:.1%} of the papers; in PyTorch on {self.device} the "
            f"student is {self.speed:.1f} times as fast ({student:,.0f} and {teacher:,.0f} papers/s)"
        )


def compare_with_teacher(
    true: Ints,
    *,
    teacher: Predictions,
    student: Predictions,
    labels: LabelSet,
    papers: Literal["validation", "test"],
    papers_per_second: tuple[float, float],
    device: str,
    seed: int = 0,
) -> StudentComparison | None:
    """Compare the predictions of a student and of its teacher for the same papers; None without papers.

    Args:
        true: True label ids of papers that neither model was trained on, `(n_papers,)`.
        teacher: What the teacher predicts for these papers.
        student: What the student predicts.
        labels: The labels of both.
        papers: Which papers these are.
        papers_per_second: Speed of teacher and student.
        device: Device on which the speed was measured.
        seed: Random seed of the bootstrap.
    """
    compared = compare_predictions(true, teacher.label_id, student.label_id, labels=labels.names, seed=seed)
    if compared is None:
        return None
    tallies = (
        Tally.count(true, predictions.label_id, predictions.score, n_labels=len(labels))
        for predictions in (teacher, student)
    )
    teacher_error, student_error = (F1Report.from_tally(tally, labels).expected_calibration_error for tally in tallies)
    return StudentComparison(
        papers=papers,
        compared=compared,
        non_inferiority=non_inferiority(compared, max_loss=MARGIN),
        calibration_errors=(teacher_error, student_error),
        papers_per_second=papers_per_second,
        device=device,
    )


def comparison_in(training: Mapping[str, Any]) -> StudentComparison | None:
    """Return the comparison of a student with its teacher; None if the model is no student or was not compared.

    Args:
        training: What a run or a bundle recorded of its training.
    """
    made_from = training.get(DISTILLED_FROM)
    found = made_from.get(COMPARISON) if isinstance(made_from, Mapping) else None
    return None if found is None else StudentComparison.model_validate(found)


def refuse_f1_loss(training: Mapping[str, Any], *, max_loss: float, run: Path) -> None:
    """Raise an error if a student's run does not show that it loses at most this macro F1 compared with its teacher.

    Args:
        training: What the run recorded of its training.
        max_loss: Largest loss of macro F1 that is accepted.
        run: Folder of the run, for messages.

    Raises:
        ConfigError: The run is no student, or was not compared with its teacher.
        GateError: The student may lose more.
    """
    option, found = f"--max-f1-loss {max_loss:g}", comparison_in(training)
    if not training.get(DISTILLED_FROM):
        raise ConfigError(
            f"{option}: {run} is no student, so it has no teacher to be compared with; leave the option out"
        )
    if found is None:
        raise ConfigError(
            f"{option}: {run} was not compared with its teacher, because all of its validation papers are training "
            "papers; run `specter-batch distill` again with other papers for --val"
        )
    judged = found.model_copy(update={"non_inferiority": non_inferiority(found.compared, max_loss=max_loss)})
    if not judged.non_inferiority.passed:
        advice = f"; more papers for `distill --{_OPTIONS[judged.papers]}` make the interval narrower"
        advice = "" if judged.non_inferiority.verdict == "worse" else advice
        raise GateError(f"{option}: {run}: {judged.verdict()}; {judged.f1_sentence()}{advice}")
