"""The int8 graph for CPUs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from specter_batch.model.tokens.encoding import TokenIds
from specter_export.graphs.exporters import DEFAULT_EXPORTER, ExporterName, Int8Settings, load_exporter
from specter_export.graphs.graph_file import save_graph
from specter_export.graphs.smooth import smooth
from specter_export.recipe import Quantization


def quantize(
    reference: Path,
    file: Path,
    *,
    settings: Quantization,
    token_ids: Sequence[TokenIds],
    exporter: ExporterName = DEFAULT_EXPORTER,
) -> None:
    """Write the dynamic int8 graph of an fp32 graph: weights are int8, activations are quantized at run time.

    Args:
        reference: Path of the fp32 graph.
        file: Path of the graph to write.
        settings: Quantization settings of the graph's recipe.
        token_ids: Token ids of papers on which activations are measured.
        exporter: The exporter whose quantizer is used.
    """
    model = onnx.load(str(reference))
    kept = float_matmuls(model)
    if settings.smoothing is not None:
        products = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.name not in kept]
        smooth(model, products, token_ids, strength=settings.smoothing)
    _part_additions_from_norms(model)
    # Embeddings stay fp32, because int8 does not speed up a look-up and its rounding would affect every layer.
    int8 = Int8Settings(
        operators=("MatMul",), kept=kept, per_channel=settings.per_channel, reduce_range=settings.reduce_range
    )
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        save_graph(model, prepared)
        load_exporter(exporter).to_int8(prepared, file, int8)


def _part_additions_from_norms(model: onnx.ModelProto) -> None:
    """Replace the residual additions by the operator Sum, which gives the same result.

    ONNX Runtime fuses Add and LayerNormalization into SkipLayerNormalization, but does not fuse Sum. The CPU kernel of
    the fused operator takes several times as long as the two alone, a tenth of the int8 graph's time.
    """
    normed = {node.input[0] for node in model.graph.node if node.op_type == "LayerNormalization"}
    for node in model.graph.node:
        if node.op_type == "Add" and node.output[0] in normed:
            node.op_type = "Sum"


def float_matmuls(model: onnx.ModelProto) -> list[str]:
    """Return the names of the matrix products that stay fp32, because int8 would lose accuracy and save no time.

    There are three kinds. The first are products of two activations: attention scores and their sum over values. The
    second are the products that the last layer computes only for [CLS], which are all but keys and values. The third
    are the products of the pooler and the head.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    products = [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and (node.input[1] not in weights or _is_of_cls_alone(node.name))
    ]
    # Layers on pooled vectors are Gemm operators. The quantizer first turns each into a MatMul with this name.
    return products + [f"{node.name}_MatMul" for node in graph.node if node.op_type == "Gemm"]


def _is_of_cls_alone(name: str) -> bool:
    # Whole layers carry their number in the name; `specter_batch.training.model.classifier` takes the last one apart.
    return "layer." not in name and not any(part in name for part in ("/key/", "/value/"))
