"""Trains only the head, on frozen embeddings: the first step of fine-tuning, or all of it if the encoder is frozen."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from specter_batch.logs import log
from specter_batch.metrics.f1 import F1Report, Ints, Tally
from specter_batch.model.ranking import Predictions
from specter_batch.model.session import Embeddings, Logits
from specter_batch.papers.labels import LabelSet
from specter_batch.training.embeddings.embed import embed
from specter_batch.training.fit.arguments import autocast_dtype
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.optimisation import make_loss
from specter_batch.training.fit.progress import TrainingProgress
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.model.settings import TORCH_MAX_TOKENS
from specter_batch.training.papers.dataset import EncodedPapers

# Training a head on cached embeddings takes seconds, so these are constants, not settings: AdamW's default learning
# rate, small batches, and a stop after ten passes without an improvement on the validation papers.
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
BATCH_SIZE = 32
MAX_EPOCHS = 100
PATIENCE = 10


@dataclass(frozen=True, kw_only=True)
class EmbeddedPapers:
    """The embeddings and labels of papers.

    Attributes:
        embeddings: Embeddings of the papers, `(n, hidden_size)` float32.
        label_ids: Label ids of the papers, `(n,)` int64.
    """

    embeddings: Embeddings
    label_ids: Ints


def train_head_alone(
    model: SpecterForSequenceClassification,
    config: TrainConfig,
    train_set: EncodedPapers,
    val_set: EncodedPapers,
    labels: LabelSet,
    progress: TrainingProgress,
) -> None:
    """Train the head of a model in place, on the embeddings of its encoder, and leave the encoder as it is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.eval().to(device)
    sets = (train_set, val_set)
    with progress.stage("embed papers", papers=sum(len(papers.token_ids) for papers in sets)) as advance:
        embedded = [
            EmbeddedPapers(
                embeddings=embed(
                    model,
                    papers.token_ids,
                    max_tokens=TORCH_MAX_TOKENS,
                    autocast_dtype=autocast_dtype(config),
                    advance=advance,
                ),
                label_ids=papers.label_ids,
            )
            for papers in sets
        ]
    loss = make_loss(config, train_set.label_ids, n_labels=len(labels))
    macro_f1 = train_head(
        model.head.cpu(),
        loss,
        train=embedded[0],
        val=embedded[1],
        labels=labels,
        seed=config.seed,
        best_by="macro_f1" if config.freeze_encoder else "loss",
    )
    log("head trained", macro_f1=round(macro_f1, 4))
    model.eval().to(device)


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
    """Train a head in place, keep the weights of the best pass, and return the validation macro F1 of that pass.

    Args:
        head: Head on the CPU, from embeddings `(batch, hidden_size)` to logits `(batch, n_labels)`.
        loss: Loss function of `{"logits": ...}` and the label ids.
        train: Papers to train on.
        val: Papers on which the best pass is chosen.
        labels: The labels in the order of the logits.
        seed: Random seed of the order of the papers.
        best_by: Validation score that decides the best pass. Use `macro_f1` if the head is used without further
            training, and `loss` if fine-tuning follows. The F1 of an MLP still rises slowly after the head has
            overfitted, and then fine-tuning has nothing left to learn from.
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
                continue  # batch norm cannot compute a variance from one paper
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
    """Return the logits `(n, n_labels)` float32 of embeddings `(n, hidden_size)`."""
    head.eval()
    with torch.inference_mode():
        return np.asarray(head(torch.from_numpy(embeddings)).numpy())
