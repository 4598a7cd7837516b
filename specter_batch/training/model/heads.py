"""Classification heads on the pooled encoder output."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator
from torch import nn

from specter_batch.errors import ConfigError

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]

ACTIVATIONS: Mapping[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}

# What a head of one's own may be made of, and the arguments that make each layer anew when a checkpoint is loaded.
LAYER_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "Linear": ("in_features", "out_features"),
    "Dropout": ("p",),
    "BatchNorm1d": ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "ReLU": (),
    "Tanh": (),
    "Sigmoid": (),
    "GELU": ("approximate",),
    "SiLU": (),
    "ELU": ("alpha",),
    "LeakyReLU": ("negative_slope",),
}


class LayerConfig(BaseModel):
    """A layer of torch.nn by its class name, and its arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    arguments: dict[str, Any] = {}

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in LAYER_ARGUMENTS:
            raise ValueError(f"expected one of {', '.join(LAYER_ARGUMENTS)}; got {kind!r}")
        return kind


class HeadConfig(BaseModel):
    """A head: no hidden layer is the linear head, any number of them is an MLP.

    Attributes:
        hidden_sizes: Units of each hidden layer, from the encoder's side.
        activation: After every hidden layer.
        dropout: Before every linear layer.
        batch_norm: Between every hidden layer and its activation.
        layers: A head of one's own, from `HeadConfig.of`; then the fields above do nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_sizes: tuple[PositiveInt, ...] = ()
    activation: Activation = "relu"
    dropout: float = Field(default=0.1, ge=0, lt=1)
    batch_norm: bool = False
    layers: tuple[LayerConfig, ...] | None = None

    @classmethod
    def of(cls, head: nn.Sequential) -> "HeadConfig":
        """Describe a head of one's own, so that a checkpoint of it can be loaded without running code from it.

        Raises:
            ConfigError: It holds a layer that is not among `LAYER_ARGUMENTS`.
        """
        layers = []
        for position, layer in enumerate(head):
            kind = type(layer).__name__
            if kind not in LAYER_ARGUMENTS or type(layer) is not getattr(nn, kind):
                known = ", ".join(LAYER_ARGUMENTS)
                raise ConfigError(f"layer {position} of the head: expected one of torch.nn's {known}; got {kind}")
            arguments = {name: getattr(layer, name) for name in LAYER_ARGUMENTS[kind]}
            if kind in ("Linear", "LayerNorm"):
                arguments["bias"] = layer.bias is not None
            layers.append(LayerConfig(kind=kind, arguments=arguments))
        return cls(layers=tuple(layers))

    @property
    def normalises_batches(self) -> bool:
        """Whether a step needs two papers or more, for their variance."""
        return self.batch_norm or any(layer.kind == "BatchNorm1d" for layer in self.layers or ())


# The heads of the study that this project set out from, under its names, and a plain MLP.
HEAD_PRESETS: Mapping[str, HeadConfig] = {
    "linear": HeadConfig(),
    "mlp": HeadConfig(hidden_sizes=(256,)),
    "ch1": HeadConfig(),
    "ch2": HeadConfig(hidden_sizes=(64,)),
    "ch2.2": HeadConfig(hidden_sizes=(64, 64)),
    "ch3": HeadConfig(hidden_sizes=(64,) * 5),
    "narrow": HeadConfig(hidden_sizes=(8, 8), activation="tanh", batch_norm=True),
}


def build_head(config: HeadConfig, *, hidden_size: int, n_labels: int) -> nn.Sequential:
    """Build the layers from pooled `(batch, hidden_size)` to logits `(batch, n_labels)`.

    Raises:
        ConfigError: A head of one's own takes or gives another width.
    """
    if config.layers is not None:
        return _own_head(config.layers, hidden_size=hidden_size, n_labels=n_labels)
    layers: list[nn.Module] = []
    width = hidden_size
    for units in config.hidden_sizes:
        layers += [nn.Dropout(config.dropout), nn.Linear(width, units)]
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(ACTIVATIONS[config.activation]())
        width = units
    return nn.Sequential(*layers, nn.Dropout(config.dropout), nn.Linear(width, n_labels))


def _own_head(layers: tuple[LayerConfig, ...], *, hidden_size: int, n_labels: int) -> nn.Sequential:
    def build() -> nn.Sequential:
        return nn.Sequential(*(getattr(nn, layer.kind)(**layer.arguments) for layer in layers))

    try:
        with torch.device("meta"):  # shapes alone: from_pretrained builds models whose weights are not there yet
            found = build().eval()(torch.zeros(1, hidden_size)).shape[-1]
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the head's layers do not take the encoder's {hidden_size} values: {reason}") from error
    if found != n_labels:
        raise ConfigError(f"the head's last layer should give a logit for each of {n_labels} labels, got {found}")
    return build()


def initialise_head(head: nn.Sequential) -> None:
    """Give every layer a start at which signals keep their size through any number of layers.

    BERT's own normal(0, 0.02) shrinks them about sixfold in each layer of 64 units, so that a deep head sees no
    input and learns nothing. He et al. 2015 (https://arxiv.org/abs/1502.01852) for layers that a rectifier follows,
    Glorot and Bengio 2010 for the others.
    """
    rectifiers = (nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU)
    layers = list(head)
    for position, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            following = (
                after for after in layers[position + 1 :] if not isinstance(after, nn.BatchNorm1d | nn.LayerNorm)
            )
            if isinstance(next(following, None), rectifiers):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.LayerNorm):
            layer.reset_parameters()
