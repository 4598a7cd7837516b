"""Labelled papers in the form that the model reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from specter_batch.metrics.f1 import Ints
from specter_batch.model.tokens.encoding import TokenIds, pad_batch


@dataclass(frozen=True, kw_only=True)
class EncodedPapers:
    """The token ids and the labels of papers.

    Attributes:
        token_ids: Token ids of each paper, `(seq_len,)`.
        label_ids: Label ids of the papers, `(n_papers,)` int64.
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


def padded(papers: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Make a batch of the dataset's rows, padded as nights pad: no padding token is needed.

    Returns:
        `input_ids` and `attention_mask`, `(batch, seq_len)` int64, and `labels`, `(batch,)` int64.
    """
    token_ids = [np.asarray(paper["input_ids"], dtype=np.int64) for paper in papers]
    batch = pad_batch(token_ids, np.arange(len(papers)))
    return {
        "input_ids": torch.from_numpy(batch.input_ids),
        "attention_mask": torch.from_numpy(batch.attention_mask),
        "labels": torch.tensor([paper["labels"] for paper in papers]),
    }
