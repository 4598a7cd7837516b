from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from specter_batch.training.heads import ACTIVATIONS, Activation, HeadConfig, build_head, initialise_head


def kinds(head: nn.Sequential) -> list[type[nn.Module]]:
    return [type(layer) for layer in head]


def test_a_head_without_hidden_layers_is_linear() -> None:
    assert kinds(build_head(HeadConfig(), hidden_size=32, n_labels=5)) == [nn.Dropout, nn.Linear]


def test_batch_norm_and_dropout_stand_in_every_hidden_layer() -> None:
    config = HeadConfig(hidden_sizes=(24, 16), dropout=0.3, batch_norm=True, activation="gelu")
    head = build_head(config, hidden_size=32, n_labels=5)
    hidden = [nn.Dropout, nn.Linear, nn.BatchNorm1d, nn.GELU]
    assert kinds(head) == [*hidden, *hidden, nn.Dropout, nn.Linear]
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.3, 0.3, 0.3]
    assert [layer.num_features for layer in head if isinstance(layer, nn.BatchNorm1d)] == [24, 16]


def test_hidden_layers_lead_from_the_encoder_to_the_labels() -> None:
    head = build_head(HeadConfig(hidden_sizes=(24, 16)), hidden_size=32, n_labels=5)
    linear = [layer for layer in head if isinstance(layer, nn.Linear)]
    assert (linear[0].in_features, linear[-1].out_features) == (32, 5)
    assert all(before.out_features == after.in_features for before, after in pairwise(linear))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_head_of_five_hidden_layers_still_sees_its_input(activation: Activation) -> None:
    torch.manual_seed(0)
    config = HeadConfig(hidden_sizes=(64,) * 5, activation=activation)
    head = build_head(config, hidden_size=32, n_labels=5).eval()
    initialise_head(head, config)
    spread = head(torch.randn(200, 32)).std(dim=0).mean()
    # A sigmoid passes on a quarter of its input's size at most, so after five little is left, but not nothing.
    assert spread > (1e-4 if activation == "sigmoid" else 0.1)


def test_berts_own_start_would_lose_the_signal_of_a_deep_head() -> None:
    torch.manual_seed(0)
    head = build_head(HeadConfig(hidden_sizes=(64,) * 5), hidden_size=32, n_labels=5).eval()
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
    assert head(torch.randn(200, 32)).std(dim=0).mean() < 1e-3


@pytest.mark.parametrize(
    "wrong", [{"activation": "swish"}, {"dropout": 1.0}, {"dropout": -0.1}, {"hidden": (8,)}, {"batch_norm": "perhaps"}]
)
def test_a_setting_that_no_head_has_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        HeadConfig.model_validate(wrong)
