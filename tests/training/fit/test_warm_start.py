from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from specter_batch.papers.labels import LabelSet
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.optimisation import make_loss
from specter_batch.training.fit.warm_start import EmbeddedPapers, head_logits, train_head
from specter_batch.training.model.head_config import HEAD_PRESETS, HeadConfig
from specter_batch.training.model.heads import build_head, initialise_layer

LABELS = LabelSet(names=("a", "b", "c", "d"))


def papers(n_papers: int, seed: int) -> EmbeddedPapers:
    """Return four overlapping clouds in 24 dimensions."""
    generator = np.random.default_rng(seed)
    label_ids = generator.integers(0, len(LABELS), n_papers)
    centres = 0.5 * np.random.default_rng(0).normal(size=(len(LABELS), 24))
    embeddings = (centres[label_ids] + generator.normal(scale=0.5, size=(n_papers, 24))).astype(np.float32)
    return EmbeddedPapers(embeddings=embeddings, label_ids=label_ids)


def trained(
    config: HeadConfig, train: EmbeddedPapers, *, best_by: Literal["macro_f1", "loss"] = "loss"
) -> tuple[nn.Sequential, float]:
    torch.manual_seed(0)
    head = build_head(config, hidden_size=24, n_labels=len(LABELS))
    for position in range(len(head)):
        initialise_layer(head, position)
    loss = make_loss(TrainConfig(), train.label_ids, n_labels=len(LABELS))
    return head, train_head(head, loss, train=train, val=papers(200, 2), labels=LABELS, seed=1, best_by=best_by)


@pytest.mark.parametrize("preset", sorted(set(HEAD_PRESETS) - {"ch1"}))
def test_every_preset_learns_separable_papers(preset: str) -> None:
    _, macro_f1 = trained(HEAD_PRESETS[preset], papers(400, 1))
    assert macro_f1 > 0.85


def test_the_best_pass_is_kept() -> None:
    head, macro_f1 = trained(HEAD_PRESETS["ch2"], papers(400, 1))
    val = papers(200, 2)
    predicted = head_logits(head, val.embeddings).argmax(axis=1)
    hits = np.array([(predicted[val.label_ids == i] == i).mean() for i in range(len(LABELS))])
    assert macro_f1 == pytest.approx(hits.mean(), abs=0.05)


def test_the_best_pass_is_the_one_that_was_asked_for() -> None:
    train, val = papers(150, 1), papers(200, 2)
    loss = make_loss(TrainConfig(), train.label_ids, n_labels=len(LABELS))
    by_loss, _ = trained(HEAD_PRESETS["mlp"], train, best_by="loss")
    by_f1, _ = trained(HEAD_PRESETS["mlp"], train, best_by="macro_f1")
    losses = [
        float(loss({"logits": torch.from_numpy(head_logits(head, val.embeddings))}, torch.from_numpy(val.label_ids)))
        for head in (by_loss, by_f1)
    ]
    assert losses[0] < losses[1]


def test_the_same_seed_gives_the_same_head() -> None:
    first, second = (trained(HEAD_PRESETS["narrow"], papers(100, 1))[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_last_batch_of_one_paper_is_no_trouble_to_batch_norm() -> None:
    trained(HEAD_PRESETS["narrow"], papers(33, 1))
