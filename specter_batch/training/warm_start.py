"""The head alone, trained on frozen embeddings: the start of fine-tuning, or all of it when the encoder is frozen."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from specter_batch.labels import LabelSet
from specter_batch.metrics import F1Report, Ints, Tally
from specter_batch.runtime import Logits, Predictions
from specter_batch.training.embeddings import Embeddings

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
) -> float:
    """Train a head in place, keep the pass with the best validation macro F1, and return that F1.

    Args:
        head: From embeddings `(batch, hidden_size)` to logits `(batch, n_labels)`; on the CPU.
        loss: Of `{"logits": ...}` and label ids.
        train: Fitted on.
        val: The best pass is chosen on these.
        labels: In the order of the logits.
        seed: Of the order of the papers.
    """
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    papers, true = torch.from_numpy(train.embeddings), torch.from_numpy(train.label_ids)
    generator = torch.Generator().manual_seed(seed)
    best, best_epoch, best_state = -1.0, 0, head.state_dict()
    for epoch in range(MAX_EPOCHS):
        head.train()
        for rows in torch.randperm(len(papers), generator=generator).split(BATCH_SIZE):
            if len(rows) == 1 and len(papers) > 1:
                continue  # batch norm finds no variance in one paper
            optimizer.zero_grad()
            loss({"logits": head(papers[rows])}, true[rows]).backward()
            optimizer.step()
        predicted = Predictions.from_logits(head_logits(head, val.embeddings), temperature=1.0)
        tally = Tally.count(val.label_ids, predicted.label_id, predicted.score, n_labels=len(labels))
        macro_f1 = F1Report.from_tally(tally, labels).macro_f1
        if macro_f1 > best:
            best, best_epoch = macro_f1, epoch
            best_state = {name: tensor.clone() for name, tensor in head.state_dict().items()}
        if epoch - best_epoch >= PATIENCE:
            break
    head.load_state_dict(best_state)
    return best


def head_logits(head: nn.Sequential, embeddings: Embeddings) -> Logits:
    """Return `(n, n_labels)` float32 logits of embeddings `(n, hidden_size)`."""
    head.eval()
    with torch.inference_mode():
        return np.asarray(head(torch.from_numpy(embeddings)).numpy())
