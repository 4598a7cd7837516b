"""Classification heads on the pooled encoder output."""

from collections.abc import Mapping

import torch
from torch import nn

from specter_batch.errors import ConfigError
from specter_batch.training.model.head_config import Activation, HeadConfig, LayerConfig

ACTIVATIONS: Mapping[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


def build_head(config: HeadConfig, *, hidden_size: int, n_labels: int) -> nn.Sequential:
    """Build the layers from pooled `(batch, hidden_size)` to logits `(batch, n_labels)`.

    Raises:
        ConfigError: The input or output width of a custom head does not fit.
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
            width = build().eval()(torch.zeros(1, hidden_size)).shape[-1]
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the head's layers do not take the encoder's {hidden_size} values: {reason}") from error
    if width != n_labels:
        raise ConfigError(f"the head's last layer should give a logit for each of {n_labels} labels, got {width}")
    return build()


def initialise_layer(head: nn.Sequential, position: int) -> None:
    """Initialise one layer so that signals keep their size through any number of layers.

    BERT's initialisation, normal(0, 0.02), shrinks signals about sixfold in each layer of 64 units. A deep head then
    gets almost no input and learns nothing. Layers before a rectifier are initialised as in He et al. 2015
    (https://arxiv.org/abs/1502.01852), all others as in Glorot and Bengio 2010.
    """
    rectifiers = (nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU)
    layer = head[position]
    if isinstance(layer, nn.Linear):
        following = (
            after for after in list(head)[position + 1 :] if not isinstance(after, nn.BatchNorm1d | nn.LayerNorm)
        )
        if isinstance(next(following, None), rectifiers):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            nn.init.xavier_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm1d | nn.LayerNorm):
        layer.reset_parameters()
