"""What can be asked about the papers of a night."""

from dataclasses import dataclass
from typing import Literal

Ask = Literal["least_certain", "confused", "label", "id", "rejected"]
# How many papers are shown if nobody says how many.
USUAL = 20


@dataclass(frozen=True, kw_only=True)
class Question:
    """A choice of papers of a night.

    Attributes:
        ask: The kind of question.
        values: The true and the predicted label, the label, the id or the reason.
        papers: The number of papers to return; None for all.
        at_random: Take papers at random, and the same ones each time. Otherwise the first ones are taken, in the order
            of `ask`: the least certain first, the most confident errors first, or in the order of the input.
    """

    ask: Ask
    values: tuple[str, ...] = ()
    papers: int | None = USUAL
    at_random: bool = False
