"""The two exporters of graphs, Optimum and PyTorch's own. They need other packages and write the same graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

from specter_batch.errors import ConfigError

ExporterName = Literal["optimum", "torch"]
DEFAULT_EXPORTER: ExporterName = "optimum"

# The model's inputs and outputs by name, each with its axes whose length is not fixed.
Axes = Mapping[str, Mapping[int, str]]


class Exporter(Protocol):
    """The two steps of an export that need a package: PyTorch to ONNX, and fp32 to int8."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions that make the graphs; the bundle records their versions."""

    def to_onnx(self, model: Any, file: Path, *, inputs: Axes, outputs: Axes, opset: int) -> None:
        """Write a PyTorch model as an fp32 graph.

        Args:
            model: A transformers model that takes the inputs as tensors and returns the outputs by name.
            file: Path of the graph to write.
            inputs: Names and dynamic axes of the inputs.
            outputs: Names and dynamic axes of the outputs.
            opset: Version of the ONNX operator set.
        """

    def to_int8(self, prepared: Path, file: Path, settings: "Int8Settings") -> None:
        """Write the int8 graph of an fp32 graph.

        Args:
            prepared: Path of the fp32 graph.
            file: Path of the graph to write, in the same folder.
            settings: What is quantized, and how.
        """


@dataclass(frozen=True, kw_only=True)
class Int8Settings:
    """What is quantized, and how: the settings that both exporters pass to ONNX Runtime's quantizer.

    Attributes:
        operators: Types of the operators to quantize.
        kept: Names of the operators that stay fp32.
        per_channel: True for one scale for each output channel, False for one for each weight matrix.
        reduce_range: True to keep weights within 7 bits.
    """

    operators: Sequence[str]
    kept: Sequence[str]
    per_channel: bool
    reduce_range: bool


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where an exporter is, and what to do if a package is missing."""

    module: str
    remedy: str


_OPTIMUM_REMEDY = (
    "run pip install 'specter-batch[export]', which brings transformers 4 (this environment has {transformers}), or "
    "add --exporter torch, which also works with transformers 5"
)
_SOURCES: Mapping[ExporterName, _Source] = {
    "optimum": _Source(module="specter_export.graphs.with_optimum", remedy=_OPTIMUM_REMEDY),
    "torch": _Source(module="specter_export.graphs.with_torch", remedy="run pip install 'specter-batch[export-torch]'"),
}


def load_exporter(name: ExporterName) -> Exporter:
    """Import an exporter.

    Raises:
        ConfigError: A package is missing, or has a version that does not go with another package.
    """
    source = _SOURCES[name]
    try:
        module: Any = import_module(source.module)
    except ImportError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = source.remedy.format(transformers=version("transformers"))
        raise ConfigError(f"--exporter {name} cannot be used here ({reason}): {remedy}") from error
    exporter: Exporter = module.EXPORTER
    return exporter
