"""The certificate of a graph: how many labels can differ from the exact model, as shown on papers it was checked on."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from specter_batch.graph_names import DeviceKind
from specter_batch.metrics.binomial import SMALLEST_SHARE, upper_bound

# Where the papers of a certificate come from, the best source first.
Source = Literal["calibration papers", "validation papers", "training papers"]

# Rounding of floats, when a bound is computed again on another machine.
_ROUNDING = 1e-9
# The bound of more papers would take long to compute, and nobody checks as many.
MOST_PAPERS = 1_000_000


class Certificate(BaseModel):
    """A bound on the share of papers to which a graph gives another label than the exact fp32 graph.

    The bound holds for papers of the same kind as those that it was checked on. A certificate changes no output, so it
    is not part of the bundle's fingerprint.

    Attributes:
        epsilon: What the certificate promises: at most this share of labels differs, 0 to 1.
        target: The share that the recipe asked for. If it could not be shown, `epsilon` is larger.
        delta: Probability that the promise is wrong because of chance in the choice of the papers, at most.
        papers: Number of papers that the graph was checked on.
        disagreements: How many of them got another label than from the fp32 graph.
        deferred: How many of them were run again with the fp32 graph, because their margin was too small.
        upper_bound: Exact upper bound (Clopper and Pearson) of the share of disagreements, never above `epsilon`.
        margin: The deferral margin that was checked; None if the graph has none.
        source: Where the papers come from.
        papers_sha256: Hash of the papers' texts.
        fitting_papers: Number of other papers that the margins to check were chosen with.
        device: The kind of device that the graph is made for.
        checked_on: The kind of device that it was checked on.
        graph_sha256: Hash of the graph (`GraphEntry.content_sha256`).
        reference_sha256: Hash of the fp32 graph that gave the exact labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epsilon: float = Field(gt=0, le=1)
    target: float = Field(ge=0, le=1)
    delta: float = Field(gt=0, lt=1)
    papers: int = Field(ge=1, le=MOST_PAPERS)
    disagreements: int = Field(ge=0)
    deferred: int = Field(ge=0)
    upper_bound: float = Field(ge=0, le=1)
    margin: float | None = Field(default=None, ge=0)
    source: Source
    papers_sha256: str
    fitting_papers: int = Field(ge=0)
    device: DeviceKind
    checked_on: DeviceKind
    graph_sha256: str
    reference_sha256: str

    @model_validator(mode="after")
    def _figures_agree(self) -> "Certificate":
        if max(self.disagreements, self.deferred) > self.papers:
            raise ValueError(f"more disagreements or deferred papers than the {self.papers:,} papers")
        bound = upper_bound(self.disagreements, self.papers, delta=self.delta)
        if abs(bound - self.upper_bound) > _ROUNDING or self.upper_bound > self.epsilon + _ROUNDING:
            raise ValueError(
                f"{self.disagreements:,} disagreements in {self.papers:,} papers have an upper bound of {bound:.6f}, "
                f"which does not agree with upper_bound {self.upper_bound:.6f} and epsilon {self.epsilon:.6f}"
            )
        return self

    @property
    def reaches_target(self) -> bool:
        """True if the certificate promises what the recipe asked for."""
        return self.epsilon <= self.target

    @property
    def sentence(self) -> str:
        """What the certificate promises, and what limits it, for people who read a report or a model card."""
        sentences = [
            f"With {100 * (1 - self.delta):.4g} % confidence at most {shown_share(self.epsilon)} of labels differ from "
            f"the exact model, on papers like the {self.papers:,} it was checked on."
        ]
        if not self.reaches_target:
            sentences.append(f"{shown_share(self.target)} was asked for, and these papers cannot show it.")
        if self.source == "training papers":
            sentences.append("These are training papers, which the model knows by heart: new papers may differ more.")
        if self.checked_on != self.device:
            sentences.append(f"It was checked on {self.checked_on.upper()}, and is made for {self.device.upper()}.")
        return " ".join(sentences)


def shown_share(share: float) -> str:
    """Return a share as a percentage with two digits, rounded up, so that a promise never looks better than it is.

    A share that no number of papers can show is shown as 0.
    """
    if share < SMALLEST_SHARE:
        return "0 %"
    percent = 100 * share
    scale = 10.0 ** (1 - math.floor(math.log10(percent)))
    return f"{math.ceil(percent * scale - _ROUNDING) / scale:g} %"
