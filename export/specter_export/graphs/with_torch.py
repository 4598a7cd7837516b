"""The exporter that needs no Optimum: `torch.onnx.export` and ONNX Runtime's own quantizer."""

import tempfile
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from specter_export.graphs.exporters import Axes, Exporter, Int8Settings
from specter_export.graphs.graph_file import save_graph

# Size of the papers with which the model is traced. Both axes are dynamic, so the graph takes any other size.
_TRACED = (2, 16)
# The mark of a graph that ONNX Runtime's preparation has gone over, which ours does not need.
_MARK = "onnx.quant.pre_process"


class TorchExporter:
    """PyTorch's exporter and ONNX Runtime's quantizer, with the same settings as Optimum uses."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions that make the graphs; the bundle records their versions."""
        return ("onnx", "onnxruntime-gpu", "torch", "transformers")

    def to_onnx(self, model: Any, file: Path, *, inputs: Axes, outputs: Axes, opset: int) -> None:
        """Write a PyTorch model as an fp32 graph; see `Exporter.to_onnx`.

        The graph is traced (`dynamo=False`), as Optimum does it. ONNX Runtime fuses attention in traced graphs, and the
        names of their operators contain the number of the layer. PyTorch's newer exporter needs one more package.
        """
        with tempfile.TemporaryDirectory(dir=file.parent) as scratch, torch.no_grad():
            traced = Path(scratch) / file.name
            torch.onnx.export(
                model,
                tuple(torch.ones(_TRACED, dtype=torch.int64) for _ in inputs),
                str(traced),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: dict(axes) for name, axes in {**inputs, **outputs}.items()},
                opset_version=opset,
                dynamo=False,
            )
            # PyTorch writes each weight of a model of more than 2 GiB to a file of its own.
            save_graph(onnx.load(str(traced)), file)

    def to_int8(self, prepared: Path, file: Path, settings: Int8Settings) -> None:
        """Write the int8 graph of an fp32 graph; see `Exporter.to_int8`."""
        model = onnx.load(str(prepared))
        # Without this mark ONNX Runtime writes a warning to the root logger, and gives that logger a handler.
        model.metadata_props.add(key=_MARK, value="onnxruntime.quant")
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=list(settings.operators),
            nodes_to_exclude=list(settings.kept),
            per_channel=settings.per_channel,
            reduce_range=settings.reduce_range,
            weight_type=QuantType.QInt8,
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )
        quantized = onnx.load(str(file))
        unmarked = [entry for entry in quantized.metadata_props if entry.key != _MARK]
        del quantized.metadata_props[:]
        quantized.metadata_props.extend(unmarked)
        save_graph(quantized, file)


EXPORTER: Exporter = TorchExporter()
