"""Judges whether a model is at most a little worse than another one, from a comparison on the same papers."""

import math
from dataclasses import dataclass
from typing import Literal

from specter_batch.metrics.paired import PairedComparison, PairedScore, difference_text

Verdict = Literal["not worse", "undecided", "worse"]


@dataclass(frozen=True, kw_only=True)
class NonInferiority:
    """The answer to the question whether B's macro F1 is at most `max_loss` lower than A's.

    Attributes:
        max_loss: Largest loss of macro F1 that is accepted.
        verdict: `not worse` if the whole interval lies above the loss, `worse` if the whole interval lies below it, and
            `undecided` if the loss is inside the interval or there are too few papers.
        macro_f1: Macro F1 of both models, with the interval of the difference.
        needed_papers: Fewest papers that can show such a small loss; None if there are as many.
    """

    max_loss: float
    verdict: Verdict
    macro_f1: PairedScore
    needed_papers: int | None = None

    @property
    def passed(self) -> bool:
        """Return whether a gate passes: only if the papers show that B is not worse."""
        return self.verdict == "not worse"

    def sentence(self, *, a: str = "A", b: str = "B") -> str:
        """Return the answer as a sentence, with these names for the models."""
        loses = f"{b} loses more than {self.max_loss:g} of macro F1 compared with {a}"
        answer = {
            "not worse": f"{b} loses at most {self.max_loss:g} of macro F1 compared with {a}",
            "worse": loses,
            "undecided": f"it is not ruled out that {loses}",
        }[self.verdict]
        few = f"; at least {self.needed_papers:,} papers can show this" if self.needed_papers else ""
        return f"{answer}: {difference_text(self.macro_f1)}{few}"


def non_inferiority(compared: PairedComparison, *, max_loss: float) -> NonInferiority:
    """Judge whether model B loses at most `max_loss` of macro F1 compared with model A.

    B is not worse if even the lower end of the interval loses less. With a 95 % interval, 2.5 % of models that lose
    just `max_loss` pass by chance (Piaggio et al. 2012, the CONSORT statement on non-inferiority trials).

    The interval of few papers can be too narrow: where both models give the same labels it has no width at all. So
    there must also be so many papers that a share of `max_loss` on which only A is right would show up in at least one
    of them, with a probability of 97.5 %. Fewer papers are enough if they show that B is better than A.
    """
    score, needed = compared.macro_f1, None
    verdict: Verdict = "undecided"
    is_better = score.interval.low > 0 and compared.mcnemar.p_value < 1 - score.interval.level
    if score.interval.high < -max_loss:
        verdict = "worse"
    elif score.interval.low >= -max_loss:
        if is_better or (1 - max_loss) ** compared.papers <= (1 - score.interval.level) / 2:
            verdict = "not worse"
        elif max_loss > 0:
            needed = _papers_to_show(max_loss, level=score.interval.level)
    return NonInferiority(max_loss=max_loss, verdict=verdict, macro_f1=score, needed_papers=needed)


def _papers_to_show(loss: float, *, level: float) -> int:
    """Return the number of papers without an error that show, one-sided, that less than this share is wrong."""
    return 1 if loss >= 1 else math.ceil(math.log((1 - level) / 2) / math.log1p(-loss))
