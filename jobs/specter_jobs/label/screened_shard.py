"""The results of screening a shard before the model runs, and of its audit. Workers send both to the driver."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_jobs.plan.shards import Mask


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The true labels that came with a shard's usable papers.

    Attributes:
        names: True labels `(n_papers,)`, null for papers without one. A label that the model knows has the model's
            spelling.
        scored: True for papers with a true label that the model knows, `(n_papers,)` bool.
        label_id: True label ids of the scored papers, `(n_scored,)` int64.
        seen: True for scored papers that the model was trained on, `(n_scored,)` bool.
        unknown: True for papers whose true label the model does not know, `(n_papers,)` bool. They are not scored.
    """

    names: pa.Array
    scored: Mask
    label_id: npt.NDArray[np.int64]
    seen: Mask
    unknown: Mask

    @property
    def seen_in_training(self) -> pa.Array:
        """True for papers that the model was trained on, `(n_papers,)`; null for papers that are not scored."""
        seen = np.zeros(len(self.scored), np.bool_)
        seen[self.scored] = self.seen
        return pa.array(seen, mask=~self.scored)


@dataclass(frozen=True, kw_only=True)
class ScreenedShard:
    """A screened shard: its rejects and its usable papers. The fields of usable papers are in input order.

    Attributes:
        rejects: Rejected rows with the columns of `REJECT_SCHEMA`.
        rows: Rows of the usable papers within the shard, `(n_papers,)` int64.
        paper_ids: Ids of the usable papers.
        kept: Input columns of the usable papers that are kept in the label files; None without such columns.
        title_only: True for papers without abstract, `(n_papers,)` bool.
        hashes: Text hashes of the usable papers.
        known: Labels of papers that an earlier night labelled, with the columns of `Decisions.known`. `row` is the
            position among the usable papers.
        undecided: Papers that are kept although they have too few words to detect their language.
        copies: Position -> name of the shard in which the same text occurs earlier in this night.
        fresh: Positions of the papers that the model labels.
    """

    rejects: pa.Table
    rows: npt.NDArray[np.int64]
    paper_ids: pa.ChunkedArray
    kept: pa.Table | None
    title_only: Mask
    hashes: list[str]
    truth: Truth
    undecided: int
    known: pa.Table
    copies: dict[int, str]
    fresh: list[int]


@dataclass(frozen=True, kw_only=True)
class AuditAnswers:
    """The labels that the fp32 graph gave to the chosen papers of a shard.

    Attributes:
        positions: Positions of the papers among the usable papers of the shard, `(n,)` int64.
        deferred: True for papers whose label in the job came from the fp32 graph already, `(n,)` bool.
        clear: True for papers whose best label is far more probable than the second, `(n,)` bool.
        label_id: Label ids of the fp32 graph, `(n,)` int64; -1 if it gave NaN or infinity.
        seconds: Time that the fp32 graph took.
    """

    positions: npt.NDArray[np.int64]
    deferred: Mask
    clear: Mask
    label_id: npt.NDArray[np.int64]
    seconds: float
