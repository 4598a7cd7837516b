"""What a student is, and how it learns from its teacher."""

from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option


class StudentSettings(Settings):
    """The layers of a student, and its loss."""

    panel: ClassVar[str] = "Student"

    layers: Annotated[int, Option(unit="layers")] = Field(
        ge=1,
        description="Number of encoder layers of the student. They are copied from the teacher at even distances; half "
        "of the layers make a model that is about twice as fast.",
    )
    # Hinton et al. 2015 (https://arxiv.org/abs/1503.02531).
    distillation_temperature: float = Field(
        default=2.0,
        gt=0,
        description="Divisor of the logits of student and teacher in the loss. With a higher one, the labels that the "
        "teacher thinks less likely count more.",
    )
    true_label_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the true labels in the loss of a paper of --train, 0 to 1. The teacher's logits have the "
        "rest, and all of the loss of a paper of --papers.",
    )
