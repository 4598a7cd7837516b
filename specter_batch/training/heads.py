"""Classification heads on the pooled encoder output."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]

ACTIVATIONS: Mapping[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


class HeadConfig(BaseModel):
    """A head: no hidden layer is the linear head, any number of them is an MLP.

    Attributes:
        hidden_sizes: Units of each hidden layer, from the encoder's side.
        activation: After every hidden layer.
        dropout: Before every linear layer.
        batch_norm: Between every hidden layer and its activation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_sizes: tuple[int, ...] = ()
    activation: Activation = "relu"
    dropout: float = Field(default=0.1, ge=0, lt=1)
    batch_norm: bool = False


def build_head(config: HeadConfig, *, hidden_size: int, n_labels: int) -> nn.Sequential:
    """Build the layers from pooled `(batch, hidden_size)` to logits `(batch, n_labels)`."""
    layers: list[nn.Module] = []
    width = hidden_size
    for units in config.hidden_sizes:
        layers += [nn.Dropout(config.dropout), nn.Linear(width, units)]
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(ACTIVATIONS[config.activation]())
        width = units
    return nn.Sequential(*layers, nn.Dropout(config.dropout), nn.Linear(width, n_labels))


def initialise_head(head: nn.Sequential, config: HeadConfig) -> None:
    """Give every layer a start at which signals keep their size through any number of layers.

    BERT's own normal(0, 0.02) shrinks them about sixfold in each layer of 64 units, so that a deep head sees no
    input and learns nothing. He et al. 2015 (https://arxiv.org/abs/1502.01852) for ReLU and GELU, Glorot and Bengio
    2010 for tanh and sigmoid.
    """
    for layer in head:
        if isinstance(layer, nn.Linear):
            if layer is not head[-1] and config.activation in ("relu", "gelu"):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d):
            layer.reset_parameters()
