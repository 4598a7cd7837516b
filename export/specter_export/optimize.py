"""The fp16 graph for CUDA, through ONNX Runtime's transformer optimizer; a GPU is not needed to build it."""

import logging
from dataclasses import dataclass
from pathlib import Path

from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from specter_batch.errors import ParityError


@dataclass(frozen=True, kw_only=True)
class GraphShape:
    """What the optimizer must find again in the graph.

    Attributes:
        cls_only: The last layer is computed for [CLS] alone, so it has no self-attention to fuse.
        gelu: The feed-forward's activation is GELU.
    """

    layers: int
    heads: int
    hidden: int
    cls_only: bool
    gelu: bool = True


def optimize_fp16(reference: Path, file: Path, *, shape: GraphShape) -> None:
    """Write the fp16 graph of an fp32 graph: attention, LayerNorm and GELU fused, int32 inputs, fp32 logits.

    Raises:
        ParityError: Fewer operators fused than the model has layers; such a graph would run, but slowly.
    """
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    model = optimize_model(
        str(reference),
        model_type="bert",
        num_heads=shape.heads,
        hidden_size=shape.hidden,
        optimization_options=FusionOptions("bert"),
        opt_level=0,  # the optimizer's own fusions only: ONNX Runtime's would be those of this machine's provider
        use_gpu=True,
    )
    fused = model.get_fused_operator_statistics()
    wanted = {
        "Attention": shape.layers - shape.cls_only,
        "SkipLayerNormalization": 2 * shape.layers,
        "BiasGelu": shape.layers * shape.gelu,
    }
    missing = [f"{name} {fused[name]} (expected {count})" for name, count in wanted.items() if fused[name] < count]
    if missing:
        raise ParityError(
            f"{file.name}: operators were not fused: {', '.join(missing)}; see specter_batch.training.model"
        )
    model.change_graph_inputs_to_int32()
    model.convert_float_to_float16(keep_io_types=True)
    model.save_model_to_file(str(file))
