"""The exporter that uses Optimum. It needs transformers before 4.58."""

import logging
from pathlib import Path
from typing import Any

from optimum.exporters.onnx import export
from optimum.exporters.onnx.model_configs import BertOnnxConfig
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

from specter_export.graphs.exporters import Axes, Exporter, Int8Settings


class GivenAxes(BertOnnxConfig):
    """Optimum's description of a graph, with our inputs and outputs."""

    def __init__(self, config: Any, *, inputs: Axes, outputs: Axes) -> None:
        self._inputs, self._outputs = inputs, outputs
        super().__init__(config, task="text-classification")

    @property
    def inputs(self) -> Axes:
        """Return the inputs with their dynamic axes."""
        return self._inputs

    @property
    def outputs(self) -> Axes:
        """Return the outputs with their dynamic axes."""
        return self._outputs


class OptimumExporter:
    """Optimum's exporter and its quantizer."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions that make the graphs; the bundle records their versions."""
        return ("optimum-onnx", "onnx", "onnxruntime-gpu", "torch", "transformers")

    def to_onnx(self, model: Any, file: Path, *, inputs: Axes, outputs: Axes, opset: int) -> None:
        """Write a PyTorch model as an fp32 graph; see `Exporter.to_onnx`."""
        logging.getLogger("optimum").setLevel(logging.ERROR)
        export(model, GivenAxes(model.config, inputs=inputs, outputs=outputs), file, opset=opset)

    def to_int8(self, prepared: Path, file: Path, settings: Int8Settings) -> None:
        """Write the int8 graph of an fp32 graph; see `Exporter.to_int8`."""
        logging.getLogger("optimum").setLevel(logging.ERROR)
        preset = AutoQuantizationConfig.avx512_vnni(
            is_static=False,
            per_channel=settings.per_channel,
            operators_to_quantize=list(settings.operators),
            nodes_to_exclude=list(settings.kept),
        )
        preset.reduce_range = settings.reduce_range
        ORTQuantizer(prepared).quantize(preset, save_dir=prepared.parent, file_suffix="int8")
        prepared.with_name(f"{prepared.stem}_int8.onnx").replace(file)


EXPORTER: Exporter = OptimumExporter()
