"""Settings of the classification head and of the pooling below it; they are read without torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from specter_batch.errors import ConfigError
from specter_batch.settings.declaration import Option

if TYPE_CHECKING:
    from torch import nn

Pooling = Literal["cls", "pooler", "mean"]
Activation = Literal["relu", "tanh", "sigmoid", "gelu"]

# The layers that a custom head may have, and the arguments from which a checkpoint rebuilds each layer.
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
    """A head: no hidden layer is the linear head, any number of them is an MLP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_sizes: tuple[PositiveInt, ...] = Field(
        default=(), description="Units of each hidden layer, starting at the encoder. None is a linear head."
    )
    activation: Activation = Field(default="relu", description="Activation function after every hidden layer.")
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the values that are dropped before every linear layer."
    )
    batch_norm: bool = Field(
        default=False, description="Normalise batches between every hidden layer and its activation."
    )
    layers: Annotated[tuple[LayerConfig, ...] | None, Option(default="made from the keys above")] = Field(
        default=None,
        description="Layers of a custom head, each with a kind and arguments; the keys above then do nothing.",
    )

    @classmethod
    def of(cls, head: "nn.Sequential") -> "HeadConfig":
        """Describe a custom head, so that its checkpoint can be loaded without running code from the checkpoint.

        Raises:
            ConfigError: The head has a layer that is not in `LAYER_ARGUMENTS`.
        """
        from torch import nn

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
        """True if a batch needs at least two papers, because batch norm computes their variance."""
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
