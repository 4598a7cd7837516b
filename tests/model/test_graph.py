import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from specter_batch.errors import BundleError, FingerprintError, ProviderError
from specter_batch.model.device import Device, cuda_problem
from specter_batch.model.session import Graph
from specter_batch.model.tokens.encoding import pad_batch
from support.tiny_graphs import EXPECTED, PAPERS, save_graph

CPU = Device(kind="cpu")
without_cuda = pytest.mark.skipif(cuda_problem(0) is None, reason="tells what happens without CUDA; hide the card")


@pytest.fixture
def full_graph(tmp_path: Path) -> Path:
    return save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask", "token_type_ids"))


def test_a_graph_runs_on_the_provider_asked_for(full_graph: Path) -> None:
    assert Graph(full_graph, device=CPU, threads=1).provider == "CPUExecutionProvider"


def test_nothing_is_written_to_report_to_the_makers_of_onnxruntime(full_graph: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    load = (
        "import sys; from pathlib import Path; from specter_batch.model.session import Graph; "
        "from specter_batch.model.device import Device; Graph(Path(sys.argv[1]), device=Device(kind='cpu'), threads=1)"
    )
    variables = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    variables |= {"HOME": str(home), "TMPDIR": str(home)}
    subprocess.run([sys.executable, "-c", load, str(full_graph)], check=True, env=variables)
    assert [file for file in home.rglob("*") if file.is_file()] == []


def test_a_padded_batch_is_fed_by_input_name_with_segments_of_zeros(full_graph: Path) -> None:
    graph = Graph(full_graph, device=CPU, threads=1)
    logits = graph.logits(pad_batch(PAPERS, np.array([2, 0, 4, 1])))
    assert logits.dtype == np.float32
    assert logits.tolist() == [EXPECTED[row] for row in (2, 0, 4, 1)]


@pytest.mark.parametrize(
    "inputs", [("input_ids",), ("input_ids", "attention_mask"), ("input_ids", "token_type_ids")], ids="+".join
)
def test_only_the_inputs_that_a_graph_has_are_fed(tmp_path: Path, inputs: tuple[str, ...]) -> None:
    graph = Graph(save_graph(tmp_path / "model.onnx", inputs), device=CPU, threads=1)
    columns = [{"input_ids": 0, "attention_mask": 1, "token_type_ids": 2}[name] for name in inputs]
    assert graph.logits(pad_batch(PAPERS, np.array([4]))).tolist() == [[EXPECTED[4][column] for column in columns]]


def test_half_precision_logits_come_out_as_float32(tmp_path: Path) -> None:
    file = save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask"), out_type=TensorProto.FLOAT16)
    logits = Graph(file, device=CPU, threads=1).logits(pad_batch(PAPERS, np.array([0])))
    assert (logits.dtype, logits.tolist()) == (np.float32, [[6.0, 2.0]])


@pytest.mark.parametrize("kept", [0, 1, 40])
def test_a_cut_graph_file_is_a_bundle_error(full_graph: Path, kept: int) -> None:
    full_graph.write_bytes(full_graph.read_bytes()[:kept])
    with pytest.raises(BundleError, match=r"model\.onnx: ONNX Runtime cannot load it"):
        Graph(full_graph, device=CPU, threads=1)


def test_a_file_that_is_no_graph_is_a_bundle_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("not a graph at all")
    with pytest.raises(BundleError, match="export the bundle again"):
        Graph(tmp_path / "model.onnx", device=CPU, threads=1)


def test_a_missing_graph_file_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot load it"):
        Graph(tmp_path / "model.onnx", device=CPU, threads=1)


@without_cuda
def test_a_graph_never_falls_back_from_cuda_to_the_cpu(full_graph: Path) -> None:
    with pytest.raises(ProviderError, match="cuda:0"):
        Graph(full_graph, device=Device(kind="cuda"), threads=1)


# What is checked when a session is made of a bundle's graph


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def checked(file: Path, n_labels: int = 2) -> Graph:
    return Graph(file, device=CPU, threads=1, sha256=hashes(file.parent), n_labels=n_labels)


def changed(file: Path, change: Callable[[onnx.GraphProto], object]) -> Path:
    """Save the two-label graph after a change to it."""
    save_graph(file, ("input_ids", "attention_mask"))
    model = onnx.load(file)
    change(model.graph)
    onnx.save(model, file)
    return file


def reshape(name: str, dims: list[Any], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def give_one_number(graph: onnx.GraphProto) -> None:
    """One number for each paper, which numpy would spread over all labels, under a shape that promises nothing."""
    graph.node[-1].output[:] = ["inner"]
    graph.initializer.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["attention_mask"], ["largest"], keepdims=0),
            helper.make_node("Reshape", ["largest", "one"], ["flat"]),
            helper.make_node("Cast", ["flat"], ["chosen"], to=TensorProto.BOOL),
            helper.make_node("Compress", ["inner", "chosen"], ["logits"], axis=1),
        ]
    )
    graph.output[0].CopyFrom(reshape("logits", ["batch", "whatever"]))


def add_output(graph: onnx.GraphProto) -> None:
    graph.output.append(reshape("float_sums", ["batch", 2]))


def rename_output(graph: onnx.GraphProto) -> None:
    graph.node[-1].output[:] = ["scores"]
    graph.output[0].name = "scores"


def give_whole_numbers(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Cast", ["inner"], ["logits"], to=TensorProto.INT64))
    graph.node[-2].output[:] = ["inner"]
    graph.output[0].CopyFrom(reshape("logits", ["batch", 2], TensorProto.INT64))


def give_texts(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Cast", ["inner"], ["logits"], to=TensorProto.STRING))
    graph.node[-2].output[:] = ["inner"]
    graph.output[0].CopyFrom(reshape("logits", ["batch", 2], TensorProto.STRING))


def give_a_scalar(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("ReduceSum", ["inner"], ["logits"], keepdims=0))
    graph.node[-2].output[:] = ["inner"]
    graph.output[0].CopyFrom(reshape("logits", []))


@pytest.mark.parametrize(
    "change",
    [add_output, rename_output, give_whole_numbers, give_texts, give_a_scalar],
    ids=lambda change: change.__name__,
)
def test_a_graph_that_gives_something_else_is_refused(
    change: Callable[[onnx.GraphProto], object], tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx: gives .*, expected only logits, tensor\(float\) of shape"):
        checked(changed(tmp_path / "model.onnx", change))


def test_a_graph_with_embeddings_gives_both_from_one_pass(tmp_path: Path) -> None:
    file = save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask"), embeddings=True)
    graph = Graph(file, device=CPU, threads=1, sha256=hashes(tmp_path), n_labels=2, embedding_size=4)
    batch = pad_batch(PAPERS, np.array([2, 0]))
    logits, embeddings = graph.logits_and_embeddings(batch)
    assert graph.gives_embeddings
    assert logits.tolist() == graph.logits(batch).tolist() == [[9, 4], [6, 2]]
    assert (embeddings.dtype, embeddings.tolist()) == (np.float32, [[9, 4, 9, 4], [6, 2, 6, 2]])


def test_half_precision_embeddings_come_out_as_float32(tmp_path: Path) -> None:
    names = ("input_ids", "attention_mask")
    file = save_graph(tmp_path / "model.onnx", names, out_type=TensorProto.FLOAT16, embeddings=True)
    _, embeddings = Graph(file, device=CPU, threads=1).logits_and_embeddings(pad_batch(PAPERS, np.array([0])))
    assert (embeddings.dtype, embeddings.tolist()) == (np.float32, [[6, 2, 6, 2]])


def test_only_the_logits_are_computed_if_no_embeddings_are_asked_for(tmp_path: Path) -> None:
    graph = Graph(save_graph(tmp_path / "m.onnx", ("input_ids",), embeddings=True), device=CPU, threads=1)
    session, asked = graph._session, []

    class Noting:
        def run(self, outputs: list[str], feed: Any) -> list[Any]:
            asked.append(list(outputs))
            return list(session.run(outputs, feed))

    graph._session = Noting()
    graph.logits(pad_batch(PAPERS, np.array([0])))
    graph.logits_and_embeddings(pad_batch(PAPERS, np.array([0])))
    assert asked == [["logits"], ["logits", "embedding"]]


@pytest.mark.parametrize(("embeddings", "size"), [(True, None), (True, 3), (False, 4)])
def test_a_graph_whose_embeddings_are_not_those_of_the_manifest_is_refused(
    tmp_path: Path, embeddings: bool, size: int | None
) -> None:
    save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask"), embeddings=embeddings)
    wanted = "only logits" if size is None else rf"and embedding, tensor\(float\) of shape \(papers, {size}\)"
    with pytest.raises(BundleError, match=rf"gives logits .*, expected .*{wanted}.*export the bundle again"):
        Graph(tmp_path / "model.onnx", device=CPU, threads=1, sha256=hashes(tmp_path), n_labels=2, embedding_size=size)


@pytest.mark.parametrize("n_labels", [1, 3, 11])
def test_a_graph_of_another_number_of_labels_is_refused(n_labels: int, tmp_path: Path) -> None:
    save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask"))
    with pytest.raises(BundleError, match=rf"shape \(batch, 2\), expected .* \(papers, {n_labels}\), one number for"):
        checked(tmp_path / "model.onnx", n_labels)


def test_a_graph_whose_shape_promises_nothing_is_tried_out(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"result of shape \(1, 1\) where \(1, 2\) is expected"):
        checked(changed(tmp_path / "model.onnx", give_one_number))


def test_the_shape_of_each_result_is_checked(tmp_path: Path) -> None:
    graph = checked(save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask")))
    session, found = graph._session, np.zeros((5, 2), np.float32)

    class Fickle:
        def run(self, *_: Any) -> list[Any]:
            return [found]

    graph._session = Fickle()
    with pytest.raises(BundleError, match=r"result of shape \(5, 2\) where \(2, 2\) is expected"):
        graph.logits(pad_batch(PAPERS, np.array([0, 1])))
    graph._session = session
    assert graph.logits(pad_batch(PAPERS, np.array([0]))).shape == (1, 2)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (reshape("input_ids", ["batch", "seq_len"], TensorProto.FLOAT), r"input input_ids is tensor\(float\)"),
        (reshape("input_ids", ["batch", "seq_len"], TensorProto.STRING), r"input input_ids is tensor\(string\)"),
        (reshape("input_ids", ["batch", 128], TensorProto.INT64), r"of shape \(batch, 128\), expected whole"),
        (reshape("input_ids", [1, "seq_len"], TensorProto.INT64), r"of shape \(1, seq_len\), expected whole"),
        (reshape("input_ids", ["n"], TensorProto.INT64), r"of shape \(n\), expected whole"),
        (reshape("pixels", ["batch", "seq_len"], TensorProto.INT64), "unknown inputs pixels"),
        (reshape("attention_mask", ["batch", "seq_len"], TensorProto.INT64), "has no input input_ids"),
    ],
)
def test_a_graph_that_reads_something_else_is_refused(node: onnx.ValueInfoProto, message: str, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["logits"], value=helper.make_tensor("c", TensorProto.FLOAT, [1, 2], [0, 1])),
        helper.make_node("Identity", [node.name], ["unused"]),
    ]
    graph = helper.make_graph(nodes, "other", [node], [reshape("logits", ["batch", 2])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(BundleError, match=message):
        checked(tmp_path / "m.onnx")


def test_a_graph_that_fails_on_every_paper_says_so_at_once(tmp_path: Path) -> None:
    def divide_by_length(graph: onnx.GraphProto) -> None:
        graph.initializer.append(helper.make_tensor("three", TensorProto.INT64, [1], [3]))
        graph.node.append(helper.make_node("Reshape", ["inner", "three"], ["flat"]))
        graph.node.append(helper.make_node("Reshape", ["flat", "pair"], ["logits"]))
        graph.initializer.append(helper.make_tensor("pair", TensorProto.INT64, [2], [-1, 2]))
        graph.node[-3].output[:] = ["inner"]

    with pytest.raises(BundleError, match=r"model\.onnx: (cannot run|ONNX Runtime cannot load it)"):
        checked(changed(tmp_path / "model.onnx", divide_by_length))


# Weights in other files


def keep_apart(file: Path, location: str) -> onnx.GraphProto:
    """Move the factor of the two-label graph into a file, as exporters do with graphs of more than 2 GB."""
    model = onnx.load(file)
    tensor = next(one for one in model.graph.initializer if one.name == "scale")
    value = np.array([3.0], np.float32).tobytes()
    tensor.ClearField("float_data")
    tensor.raw_data = value
    set_external_data(tensor, location, offset=0, length=len(value))
    tensor.ClearField("raw_data")
    file.write_bytes(model.SerializeToString())
    return model.graph


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """Return a graph with weights in a file of their own, which make the logits three times as large."""
    (tmp_path / "bundle").mkdir()
    file = save_graph(tmp_path / "bundle" / "model.onnx", ("input_ids", "attention_mask"))
    keep_apart(file, "model.onnx_data")
    file.with_name("model.onnx_data").write_bytes(np.array([3.0], np.float32).tobytes())
    return file


def test_weights_in_another_file_are_taken_from_bytes_that_were_hashed(apart: Path) -> None:
    graph = checked(apart)
    apart.with_name("model.onnx_data").unlink()
    assert graph.logits(pad_batch(PAPERS, np.array([0]))).tolist() == [[18, 6]]


def test_changed_weights_in_another_file_are_noticed(apart: Path) -> None:
    before = hashes(apart.parent)
    apart.with_name("model.onnx_data").write_bytes(np.array([-3.0], np.float32).tobytes())
    with pytest.raises(FingerprintError, match=r"model\.onnx_data: differs"):
        Graph(apart, device=CPU, threads=1, sha256=before, n_labels=2)


def test_weights_in_a_file_that_nobody_listed_are_refused(apart: Path) -> None:
    listed = {name: sha256 for name, sha256 in hashes(apart.parent).items() if name == "model.onnx"}
    with pytest.raises(BundleError, match=r"takes weights from model\.onnx_data, which the manifest does not list"):
        Graph(apart, device=CPU, threads=1, sha256=listed, n_labels=2)


@pytest.mark.parametrize(
    "location", ["../weights", "/etc/hostname", "deeper/weights", "*/_ORT_MEM_ADDR_/*", "", ".", "..", "a\0b", "a b"]
)
def test_weights_outside_the_bundle_are_refused(apart: Path, location: str) -> None:
    keep_apart(save_graph(apart, ("input_ids", "attention_mask")), location)
    listed = {**hashes(apart.parent), location: "0" * 64}
    with pytest.raises(BundleError, match="expected a plain file in the bundle's own folder"):
        Graph(apart, device=CPU, threads=1, sha256=listed, n_labels=2)


def test_weights_behind_a_link_are_refused(apart: Path) -> None:
    weights = apart.with_name("model.onnx_data")
    weights.rename(apart.parent.parent / "elsewhere")
    weights.symlink_to("../elsewhere")
    with pytest.raises(BundleError, match="expected a plain file in the bundle's own folder"):
        checked(apart)


# Files that change while they are opened


def test_a_graph_that_is_replaced_before_it_is_loaded_is_noticed(tmp_path: Path) -> None:
    file = save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask"))
    before = hashes(tmp_path)
    save_graph(file, ("input_ids", "attention_mask"), scale=2.0)
    with pytest.raises(FingerprintError, match=r"model\.onnx: differs from the file the bundle was built with"):
        Graph(file, device=CPU, threads=1, sha256=before, n_labels=2)


def test_a_graph_that_is_removed_before_it_is_loaded_is_a_bundle_error(tmp_path: Path) -> None:
    file = save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask"))
    before = hashes(tmp_path)
    file.unlink()
    with pytest.raises(BundleError, match=r"model\.onnx: a file of the bundle is missing"):
        Graph(file, device=CPU, threads=1, sha256=before, n_labels=2)
