"""What is known of a shard before the model is asked, as it goes from a worker to the driver."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_jobs.plan.shards import Mask


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The true labels that came with a shard's usable papers.

    Attributes:
        names: `(n_papers,)` the true label; null if there is none. A label that the model knows has the model's
            spelling.
        scored: `(n_papers,)` bool: the paper has a true label that the model knows.
        label_id: `(n_scored,)` int64: that label.
        seen: `(n_scored,)` bool: the model was trained on the paper.
        unknown: `(n_papers,)` bool: the paper has a true label that the model does not know; it is not scored.
    """

    names: pa.Array
    scored: Mask
    label_id: npt.NDArray[np.int64]
    seen: Mask
    unknown: Mask

    @property
    def seen_in_training(self) -> pa.Array:
        """`(n_papers,)` whether the model was trained on the paper; null for papers that are not scored."""
        seen = np.zeros(len(self.scored), np.bool_)
        seen[self.scored] = self.seen
        return pa.array(seen, mask=~self.scored)


@dataclass(frozen=True, kw_only=True)
class ScreenedShard:
    """What is known of a shard before the model is asked.

    Attributes:
        rejects: `REJECT_SCHEMA`.
        rows: `(n_papers,)` int64: rows of the usable papers within the shard.
        paper_ids: Of the usable papers, in input order; the other fields go with them by position.
        kept: The kept columns of the usable papers; None if there are none.
        title_only: `(n_papers,)` bool: the paper has no abstract.
        hashes: Of the texts.
        known: Labels of papers that an earlier night labelled, with the columns of `Decisions.known`; `row` is a
            position.
        undecided: Papers that are kept although too few words do not say whether they are in English.
        copies: Position -> name of the shard in which the same text stands earlier tonight.
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
