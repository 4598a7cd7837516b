"""The head alone, trained on frozen embeddings: the start of fine-tuning, or all of it when the encoder is frozen."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from specter_batch.metrics.f1 import F1Report, Ints, Tally
from specter_batch.model.predictions import Predictions
from specter_batch.model.session import Logits
from specter_batch.papers.labels import LabelSet
from specter_batch.training.embeddings.embed import Embeddings

# A head on cached embeddings takes seconds, so these are bounds against waste, not settings: AdamW's own rate, small
# batches, and an end when the validation papers have gained nothing for ten passes.
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
BATCH_SIZE = 32
MAX_EPOCHS = 100
PATIENCE = 10


@dataclass(frozen=True, kw_only=True)
class EmbeddedPapers:
    """Papers as an encoder sees them.

    Attributes:
        embeddings: `(n, hidden_size)` float32.
        label_ids: `(n,)` int64.
    """

    embeddings: Embeddings
    label_ids: Ints


def train_head(
    head: nn.Sequential,
    loss: Callable[..., torch.Tensor],
    *,
    train: EmbeddedPapers,
    val: EmbeddedPapers,
    labels: LabelSet,
    seed: int,
    best_by: Literal["macro_f1", "loss"],
) -> float:
    """Train a head in place, keep its best pass, and return that one's validation macro F1.

    Args:
        head: From embeddings `(batch, hidden_size)` to logits `(batch, n_labels)`; on the CPU.
        loss: Of `{"logits": ...}` and label ids.
        train: Fitted on.
        val: The best pass is chosen on these.
        labels: In the order of the logits.
        seed: Of the order of the papers.
        best_by: Which pass is the best by the validation papers. `macro_f1` for a head that is used as it is, `loss`
            for one that fine-tuning starts from: an MLP's F1 still creeps up when it knows its training papers by
            heart, and an encoder below such a head has nothing left to learn from.
    """
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    papers, true = torch.from_numpy(train.embeddings), torch.from_numpy(train.label_ids)
    generator = torch.Generator().manual_seed(seed)
    known = torch.from_numpy(val.label_ids)
    best, best_f1, best_epoch, best_state = -math.inf, 0.0, 0, _copied(head)
    for epoch in range(MAX_EPOCHS):
        head.train()
        for rows in torch.randperm(len(papers), generator=generator).split(BATCH_SIZE):
            if len(rows) == 1 and len(papers) > 1:
                continue  # batch norm finds no variance in one paper
            optimizer.zero_grad()
            loss({"logits": head(papers[rows])}, true[rows]).backward()
            optimizer.step()
        logits = head_logits(head, val.embeddings)
        predicted = Predictions.from_logits(logits, temperature=1.0)
        tally = Tally.count(val.label_ids, predicted.label_id, predicted.score, n_labels=len(labels))
        macro_f1 = F1Report.from_tally(tally, labels).macro_f1
        reached = macro_f1 if best_by == "macro_f1" else -float(loss({"logits": torch.from_numpy(logits)}, known))
        if reached > best:
            best, best_f1, best_epoch = reached, macro_f1, epoch
            best_state = _copied(head)
        if epoch - best_epoch >= PATIENCE:
            break
    head.load_state_dict(best_state)
    return best_f1


def _copied(head: nn.Sequential) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in head.state_dict().items()}


def head_logits(head: nn.Sequential, embeddings: Embeddings) -> Logits:
    """Return `(n, n_labels)` float32 logits of embeddings `(n, hidden_size)`."""
    head.eval()
    with torch.inference_mode():
        return np.asarray(head(torch.from_numpy(embeddings)).numpy())
