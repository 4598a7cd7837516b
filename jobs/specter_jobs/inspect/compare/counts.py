"""The result of a comparison of two nights: how many papers changed, and why."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class ComparedNight(_Part):
    """One of the nights that were compared.

    Attributes:
        place: Its output folder.
        rows: Rows of its input.
        labelled: Rows with a label.
        bundle: Fingerprint of its bundle; None if the folder does not say.
        device: Kind of device that labelled; None if the folder does not say.
        model: Hash of bundle, graph and device; None if no shard is finished.
    """

    place: str
    rows: int
    labelled: int
    bundle: str | None
    device: str | None
    model: str | None


class CauseCount(_Part):
    """How many papers changed for one cause.

    Attributes:
        papers: Number of papers.
        near_ties: Number of these papers whose two labels were almost equally likely in both nights.
    """

    papers: int
    near_ties: int


class Transition(_Part):
    """Papers that had one label and now have another one.

    Attributes:
        before: Label in the earlier night.
        now: Label in the later night.
        papers: Number of papers.
    """

    before: str
    now: str
    papers: int


class ComparisonCounts(_Part):
    """What became of the papers of two nights.

    Attributes:
        before: The earlier night.
        now: The later night.
        unchanged: Papers with the same label in both nights.
        without_label: Rows that have a label in neither night.
        changed: Papers whose label differs, or that have a label in one night only: the sum of `causes`.
        causes: Papers by the cause of the change; every cause is listed.
        transitions: The most frequent changes from one label to another.
        near_tie_margin: Margin below which a label is nearly a tie.
        notes: What could not be compared.
    """

    before: ComparedNight
    now: ComparedNight
    unchanged: int
    without_label: int
    changed: int
    causes: Mapping[str, CauseCount]
    transitions: tuple[Transition, ...]
    near_tie_margin: float
    notes: tuple[str, ...]
