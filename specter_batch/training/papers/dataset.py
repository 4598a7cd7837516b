"""Labelled papers in the form that the model reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from specter_batch.metrics.f1 import Ints
from specter_batch.model.session import Logits
from specter_batch.model.tokens.encoding import TokenIds, pad_batch

# The label id of a paper without a label. transformers does not count papers with its own mark, -100, in a batch.
NO_LABEL = -1
# Column of the dataset and of its batches.
TEACHER_LOGITS = "teacher_logits"


@dataclass(frozen=True, kw_only=True)
class EncodedPapers:
    """The token ids and the labels of papers.

    Attributes:
        token_ids: Token ids of each paper, `(seq_len,)`.
        label_ids: Label ids of the papers, `(n_papers,)` int64; `NO_LABEL` for a paper without a label, which only a
            teacher's logits can teach.
        teacher_logits: A teacher's logits, `(n_papers, n_labels)` float32; None if there is no teacher.
    """

    token_ids: Sequence[TokenIds]
    label_ids: Ints
    teacher_logits: Logits | None = None

    def longest_first(self) -> "EncodedPapers":
        """Return the same papers with the longest first, so that papers of similar length share a batch."""
        order = np.argsort([-len(ids) for ids in self.token_ids], kind="stable")
        return EncodedPapers(
            token_ids=[self.token_ids[row] for row in order],
            label_ids=self.label_ids[order],
            teacher_logits=None if self.teacher_logits is None else self.teacher_logits[order],
        )

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
        columns: dict[str, Any] = {
            "input_ids": token_ids,
            "attention_mask": [np.ones_like(ids) for ids in token_ids],
            "length": [len(ids) for ids in token_ids],
            "labels": self.label_ids[:n_papers],
        }
        if self.teacher_logits is not None:
            columns[TEACHER_LOGITS] = list(self.teacher_logits[:n_papers])
        return Dataset.from_dict(columns)


def padded(papers: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Make a batch of the dataset's rows, padded as nights pad: no padding token is needed.

    Returns:
        `input_ids` and `attention_mask`, `(batch, seq_len)` int64, and `labels`, `(batch,)` int64; with a teacher also
        `teacher_logits`, `(batch, n_labels)` float32.
    """
    token_ids = [np.asarray(paper["input_ids"], dtype=np.int64) for paper in papers]
    batch = pad_batch(token_ids, np.arange(len(papers)))
    tensors = {
        "input_ids": torch.from_numpy(batch.input_ids),
        "attention_mask": torch.from_numpy(batch.attention_mask),
        "labels": torch.tensor([paper["labels"] for paper in papers]),
    }
    if TEACHER_LOGITS in papers[0]:
        tensors[TEACHER_LOGITS] = torch.tensor([paper[TEACHER_LOGITS] for paper in papers], dtype=torch.float32)
    return tensors
