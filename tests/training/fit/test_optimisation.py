import numpy as np
import pytest
import torch
from torch import nn

from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.optimisation import class_weights, learning_rate_of, make_loss, make_optimizer
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.run.folder import TrainingRun


def test_class_weights_make_a_rare_class_count_as_much_as_a_common_one(tiny_config: TrainConfig) -> None:
    train_ids = np.array([0] * 90 + [1] * 10)
    logits, true = torch.zeros(100, 2), torch.tensor(train_ids)
    logits[:, 0] = 2.0
    losses = {
        weighted: make_loss(tiny_config.model_copy(update={"class_weights": weighted}), train_ids, n_labels=2)(
            {"logits": logits}, true
        )
        for weighted in ("none", "balanced")
    }
    torch.testing.assert_close(losses["none"], nn.functional.cross_entropy(logits, true))
    each = nn.functional.cross_entropy(logits, true, reduction="none")
    torch.testing.assert_close(losses["balanced"], (each[:90].mean() + each[90:].mean()) / 2)


@pytest.mark.parametrize("kind", ["none", "sqrt", "balanced"])
def test_smoothed_labels_stay_with_their_class_whatever_the_weights(tiny_config: TrainConfig, kind: str) -> None:
    config = tiny_config.model_copy(update={"class_weights": kind, "label_smoothing": 0.1})
    train_ids = np.array([0] * 900 + [1] * 95 + [2] * 5)  # and no paper of class 3
    logits = torch.zeros(1, 4, requires_grad=True)
    make_loss(config, train_ids, n_labels=4)({"logits": logits}, torch.tensor([0])).backward()
    pull = -logits.grad / class_weights(config, train_ids, n_labels=4)[0]
    torch.testing.assert_close(pull + 0.25, torch.tensor([[0.925, 0.025, 0.025, 0.025]]))


def test_accumulated_batches_add_up_to_the_loss_of_one_large_batch(tiny_config: TrainConfig) -> None:
    torch.manual_seed(0)
    logits, true = torch.randn(12, 3), torch.randint(0, 3, (12,))
    loss = make_loss(tiny_config, true.numpy(), n_labels=3)
    parts = [loss({"logits": logits[rows]}, true[rows], 12) for rows in (slice(0, 8), slice(8, 12))]
    torch.testing.assert_close(sum(parts), loss({"logits": logits}, true))


def test_the_head_has_its_own_learning_rate_and_only_matrices_decay(
    tiny_run: TrainingRun, tiny_config: TrainConfig
) -> None:
    model = SpecterForSequenceClassification.from_pretrained(tiny_run.path)
    config = tiny_config.model_copy(update={"head_learning_rate": 0.5, "weight_decay": 0.25})
    settings = {
        parameter: (group["lr"], group["weight_decay"])
        for group in make_optimizer(model, config).param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        rate = 0.5 if name.startswith("head.") else config.learning_rate
        decays = parameter.ndim > 1
        assert settings[parameter] == (rate, 0.25 if decays else 0.0), name


def test_class_weights_have_a_mean_of_one_over_the_papers_and_sqrt_lies_between(tiny_config: TrainConfig) -> None:
    train_ids = np.array([0] * 90 + [1] * 10)
    ratios = {}
    for kind in ("none", "sqrt", "balanced"):
        weights = class_weights(tiny_config.model_copy(update={"class_weights": kind}), train_ids, n_labels=3)
        assert weights[train_ids].mean() == pytest.approx(1.0)
        ratios[kind] = float(weights[1] / weights[0])
    assert ratios == pytest.approx({"none": 1.0, "sqrt": 3.0, "balanced": 9.0})


def test_layer_decay_lowers_the_rate_from_the_top_down(tiny_config: TrainConfig) -> None:
    config = tiny_config.model_copy(update={"learning_rate": 1.0, "head_learning_rate": 7.0, "layer_decay": 0.5})
    names = {
        "head.1.weight": 7.0,
        "bert.pooler.dense.weight": 1.0,
        "bert.encoder.layer.11.output.dense.weight": 1.0,
        "bert.encoder.layer.10.attention.self.key.bias": 0.5,
        "bert.encoder.layer.0.output.dense.weight": 0.5**11,
        "bert.embeddings.word_embeddings.weight": 0.5**12,
    }
    assert {name: learning_rate_of(name, config, n_layers=12) for name in names} == names


def test_sgd_moves_the_weights_with_momentum(tiny_run: TrainingRun, tiny_config: TrainConfig) -> None:
    model = SpecterForSequenceClassification.from_pretrained(tiny_run.path)
    optimizer = make_optimizer(model, tiny_config.model_copy(update={"optimizer": "sgd"}))
    assert isinstance(optimizer, torch.optim.SGD)
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}
