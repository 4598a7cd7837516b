"""A bundle whose int8 graph gives some papers another label than its fp32 graph, for tests of the audit."""

import json
import shutil
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from specter_batch.model.manifest import MANIFEST_FILE, BundleManifest
from specter_batch.storage.files import file_sha256

GRAPH = "model_int8.onnx"


def flipping_bundle(bundle: Path, folder: Path, *, one_in: int) -> Path:
    """Copy a bundle, and turn the signs of the int8 graph's logits for one paper in `one_in`.

    The papers are those whose token ids have a sum that `one_in` divides, so that it is the same papers in every run.
    """
    shutil.copytree(bundle, folder)
    model = onnx.load(folder / GRAPH)
    for node in model.graph.node:
        node.output[:] = ["logits_before" if name == "logits" else name for name in node.output]
    model.graph.node.extend(
        [
            helper.make_node("ReduceSum", ["input_ids", "flip_axis"], ["flip_sum"], keepdims=1),
            helper.make_node("Mod", ["flip_sum", "flip_one_in"], ["flip_rest"]),
            helper.make_node("Equal", ["flip_rest", "flip_zero"], ["flip_chosen"]),
            helper.make_node("Where", ["flip_chosen", "flip_minus", "flip_plus"], ["flip_sign"]),
            helper.make_node("Mul", ["logits_before", "flip_sign"], ["logits"]),
        ]
    )
    integers = {"flip_axis": 1, "flip_one_in": one_in, "flip_zero": 0}
    signs = {"flip_minus": -1.0, "flip_plus": 1.0}
    model.graph.initializer.extend(
        [
            *(helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in integers.items()),
            *(helper.make_tensor(name, TensorProto.FLOAT, [1], [value]) for name, value in signs.items()),
        ]
    )
    onnx.save(model, folder / GRAPH)
    file = folder / MANIFEST_FILE
    manifest = json.loads(file.read_bytes())
    entry = next(graph for graph in manifest["graphs"] if graph["file"] == GRAPH)
    entry.pop("certificate", None)  # it was made for the graph before
    entry["sha256"] = file_sha256(folder / GRAPH)
    manifest["fingerprint"] = BundleManifest.model_validate_json(json.dumps(manifest)).expected_fingerprint()
    file.write_text(json.dumps(manifest))
    return folder
