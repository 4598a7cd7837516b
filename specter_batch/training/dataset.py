"""Labelled papers as the model takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from specter_batch.encoding import TokenIds
from specter_batch.metrics import Ints


@dataclass(frozen=True, kw_only=True)
class EncodedPapers:
    """Papers as numbers.

    Attributes:
        token_ids: Of each paper, `(seq_len,)`.
        label_ids: `(n_papers,)` int64.
    """

    token_ids: Sequence[TokenIds]
    label_ids: Ints

    def dataset(self, *, leave_out_lone_of: int | None = None) -> Dataset:
        """Return the Trainer's dataset.

        Args:
            leave_out_lone_of: Leave the last paper out where batches of this size would make it one of its own: batch
                norm finds no variance in one paper.
        """
        n_papers = len(self.label_ids)
        if leave_out_lone_of is not None and n_papers % leave_out_lone_of == 1:
            n_papers -= 1
        token_ids = self.token_ids[:n_papers]
        return Dataset.from_dict(
            {
                "input_ids": token_ids,
                "attention_mask": [np.ones_like(ids) for ids in token_ids],
                "length": [len(ids) for ids in token_ids],
                "labels": self.label_ids[:n_papers],
            }
        )
