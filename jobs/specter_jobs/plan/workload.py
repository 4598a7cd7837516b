"""The number of papers that the model has to label, known before labelling, and the limit `--max-fresh` for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from specter_batch.errors import GateError
from specter_jobs.plan.reuse_report import ReuseReport, UnusableLabels

MaxFresh = int | float


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The papers of a night by where their label comes from, before languages are checked.

    Attributes:
        reusable: Papers whose text was labelled in an earlier night.
        copies: Papers whose text is in this night more than once.
        fresh: Number of papers that the model has to label, by number of their shard.
        unusable: Labels of earlier nights that cannot be copied, with the reasons.
    """

    reusable: int
    copies: int
    fresh: Mapping[int, int]
    unusable: Sequence[UnusableLabels]

    @property
    def papers(self) -> int:
        """All papers that have an id, a title and an abstract, without repeated ids."""
        return self.reusable + self.copies + self.n_fresh

    @property
    def n_fresh(self) -> int:
        """All papers that the model has to label."""
        return sum(self.fresh.values())

    def as_report(self) -> ReuseReport:
        """Return the part of `report.json` about reuse."""
        return ReuseReport(
            papers=self.papers,
            reusable=self.reusable,
            copies=self.copies,
            fresh=self.n_fresh,
            unusable=tuple(self.unusable),
        )

    def check(self, limit: MaxFresh | None, *, pending: Collection[int]) -> None:
        """Stop a night that would label more papers than the limit allows.

        Args:
            limit: A number of papers, or a share of all papers as a float; None for no limit.
            pending: Numbers of the shards that are not done yet.

        Raises:
            GateError: There are more papers to label than the limit.
        """
        if limit is None:
            return
        fresh = sum(papers for number, papers in self.fresh.items() if number in pending)
        most = limit if isinstance(limit, int) else limit * self.papers
        if fresh > most:
            shown = f"{limit:,}" if isinstance(limit, int) else f"{limit:.1%}"
            share = f"{fresh / self.papers:.1%}"
            reasons = "".join(f"; {one}" for one in self.unusable)
            raise GateError(
                f"--max-fresh {shown}: {fresh:,} of {self.papers:,} papers ({share}) have to be labelled, and "
                f"nothing was labelled{reasons}. If you expect that, run the same command with --max-fresh {fresh}"
            )
