from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from specter_batch.errors import ConfigError
from specter_batch.training.model.head_config import HEAD_PRESETS, LAYER_ARGUMENTS, Activation, HeadConfig
from specter_batch.training.model.heads import ACTIVATIONS, build_head, initialise_layer


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
    for position in range(len(head)):
        initialise_layer(head, position)
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


@pytest.mark.parametrize("preset", HEAD_PRESETS)
def test_every_preset_gives_logits(preset: str) -> None:
    head = build_head(HEAD_PRESETS[preset], hidden_size=32, n_labels=5)
    assert head(torch.randn(4, 32)).shape == (4, 5)


def test_the_presets_are_the_heads_of_the_study() -> None:
    widths = {
        name: [
            layer.out_features
            for layer in build_head(config, hidden_size=768, n_labels=11)
            if isinstance(layer, nn.Linear)
        ]
        for name, config in HEAD_PRESETS.items()
    }
    assert widths == {
        "linear": [11],
        "mlp": [256, 11],
        "ch1": [11],
        "ch2": [64, 11],
        "ch2.2": [64, 64, 11],
        "ch3": [64, 64, 64, 64, 64, 11],
        "narrow": [8, 8, 11],
    }


OWN = nn.Sequential(nn.Linear(32, 16, bias=False), nn.LayerNorm(16), nn.GELU("tanh"), nn.Dropout(0.2), nn.Linear(16, 5))


def test_a_head_of_ones_own_is_built_again_from_its_description() -> None:
    config = HeadConfig.model_validate(HeadConfig.of(OWN).model_dump(mode="json"))
    again = build_head(config, hidden_size=32, n_labels=5)
    again.load_state_dict(OWN.state_dict())
    papers = torch.randn(6, 32)
    assert kinds(again) == kinds(OWN)
    assert again[0].bias is None
    assert torch.equal(again.eval()(papers), OWN.eval()(papers))


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(32, affine=False, momentum=None, eps=0.1),
        nn.LayerNorm(32, elementwise_affine=False),
        nn.LayerNorm(32, bias=False),
        nn.ELU(alpha=0.3),
    ],
    ids=repr,
)
def test_what_a_layer_was_made_with_is_kept(layer: nn.Module) -> None:
    head = nn.Sequential(layer, nn.Linear(32, 5))
    assert repr(build_head(HeadConfig.of(head), hidden_size=32, n_labels=5)) == repr(head)


def test_batch_norm_that_would_look_at_a_papers_neighbours_is_refused() -> None:
    head = nn.Sequential(nn.BatchNorm1d(32, track_running_stats=False), nn.Linear(32, 5))
    with pytest.raises(ConfigError, match="more than 1 value"):
        build_head(HeadConfig.of(head), hidden_size=32, n_labels=5)


@pytest.mark.parametrize("kind", LAYER_ARGUMENTS)
def test_every_layer_of_the_list_can_be_described_and_built(kind: str) -> None:
    made = {"Linear": (32, 32), "BatchNorm1d": (32,), "LayerNorm": (32,)}.get(kind, ())
    head = nn.Sequential(getattr(nn, kind)(*made), nn.Linear(32, 5))
    assert kinds(build_head(HeadConfig.of(head), hidden_size=32, n_labels=5)) == kinds(head)


def test_a_layer_that_could_not_be_loaded_again_is_refused() -> None:
    with pytest.raises(ConfigError, match="layer 1 of the head: expected one of"):
        HeadConfig.of(nn.Sequential(nn.Linear(32, 5), nn.Bilinear(5, 5, 5)))


@pytest.mark.parametrize(
    ("hidden_size", "n_labels", "told"), [(64, 5, "64 values"), (32, 6, "each of 6 labels, got 5")]
)
def test_a_head_of_ones_own_that_does_not_fit_is_refused(hidden_size: int, n_labels: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_head(HeadConfig.of(OWN), hidden_size=hidden_size, n_labels=n_labels)


def test_an_argument_that_a_layer_does_not_take_is_one_clear_line() -> None:
    config = HeadConfig.model_validate({"layers": [{"kind": "Dropout", "arguments": {"p": 2.0}}]})
    with pytest.raises(ConfigError, match="dropout probability"):
        build_head(config, hidden_size=32, n_labels=5)
