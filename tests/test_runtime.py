import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail, Fail, RuntimeException

from small_card import OUT_OF_MEMORY, SmallCard
from specter_batch import runtime
from specter_batch.bundle import BundleManifest, GraphEntry, GraphParity, ModelBundle
from specter_batch.encoding import TokenIds, pad_batch
from specter_batch.errors import BundleError, ConfigError, ProviderError
from specter_batch.runtime import Device, Graph, OnnxClassifier, Predictions, cuda_problem, int8_saturates, usable_cpus

CPU = Device(kind="cpu")
HAS_CUDA = cuda_problem(0) is None
without_cuda = pytest.mark.skipif(HAS_CUDA, reason="tells what happens without CUDA; hide the card to run it")

PAPERS = [np.array(ids) for ids in ([5, 1], [1], [2, 2, 2, 3], [7], [1, 9, 1])]
# What the tiny graph says of each: the sum of its token ids, the number of its tokens, the sum of its segments.
EXPECTED = [[6, 2, 0], [1, 1, 0], [9, 4, 0], [7, 1, 0], [11, 3, 0]]


def save_graph(file: Path, inputs: tuple[str, ...], *, scale: float = 1.0, out_type: int = TensorProto.FLOAT) -> Path:
    """Write a graph whose logits are the sums over a paper's tokens of ids, mask and segments, times `scale`."""
    ids = "input_ids"
    nodes = []
    if "attention_mask" in inputs:
        nodes.append(helper.make_node("Mul", ["input_ids", "attention_mask"], ["shown_ids"]))
        ids = "shown_ids"
    parts = []
    for name in (ids, *inputs[1:]):
        nodes.append(helper.make_node("ReduceSum", [name, "axis"], [f"sum_{name}"], keepdims=1))
        parts.append(f"sum_{name}")
    nodes += [
        helper.make_node("Concat", parts, ["sums"], axis=1),
        helper.make_node("Cast", ["sums"], ["float_sums"], to=out_type),
        helper.make_node("Mul", ["float_sums", "scale"], ["logits"]),
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("scale", out_type, [1], [scale]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq_len"]) for name in inputs]
    logits = helper.make_tensor_value_info("logits", out_type, ["batch", len(parts)])
    graph = helper.make_graph(nodes, "sums", values, [logits], initializer=constants)
    # The oldest IR version that knows opset 18, so that any supported ONNX Runtime loads it.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    return file


@pytest.fixture
def full_graph(tmp_path: Path) -> Path:
    return save_graph(tmp_path / "model.onnx", ("input_ids", "attention_mask", "token_type_ids"))


# Devices


@pytest.mark.parametrize(
    "name", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:1.0", "cuda 0", "cuda:²", "autos"]
)
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or cuda:N"):
        Device.parse(name)


def test_the_cpu_is_always_there() -> None:
    assert Device.parse("cpu") == CPU
    assert str(CPU) == "cpu"


def test_a_card_is_written_as_it_is_read() -> None:
    assert str(Device(kind="cuda", index=1)) == "cuda:1"


@without_cuda
def test_auto_is_the_cpu_where_no_card_works() -> None:
    assert Device.parse("auto") == CPU


@pytest.mark.skipif(not HAS_CUDA, reason="needs an NVIDIA card, its driver and onnxruntime-gpu")
def test_auto_is_the_first_card_where_one_works() -> None:
    assert Device.parse("auto") == Device.parse("cuda") == Device.parse("cuda:0") == Device(kind="cuda")


@without_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_asked_for_without_cuda_says_what_is_missing_and_what_to_do(name: str) -> None:
    with pytest.raises(ProviderError) as caught:
        Device.parse(name)
    message = str(caught.value)
    assert message.startswith(f"cuda:{name[5:] or 0} was asked for: {cuda_problem(0)}")
    assert any(thing in message for thing in ("onnxruntime-gpu", "driver", "CUDA card"))
    assert message.endswith("or run with --device cpu")


def test_a_card_beyond_the_last_is_refused() -> None:
    with pytest.raises(ProviderError, match="cuda:999 was asked for"):
        Device.parse("cuda:999")


# Cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can pin a process to a core")
def test_a_process_pinned_to_one_core_uses_one() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_cpus() <= len(before)


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("max 100000\n", 8), ("300000 100000\n", 3), ("250000 100000\n", 2), ("50000 100000\n", 1), ("1600000 100000", 8)],
)
def test_a_container_quota_caps_the_cores(monkeypatch: pytest.MonkeyPatch, cpu_max: str, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda *_: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda *_: cpu_max)
    assert usable_cpus() == expected


@pytest.mark.parametrize("cpu_max", ["", "max", "a b", "1 2 3"])
def test_a_quota_that_cannot_be_read_is_no_quota(monkeypatch: pytest.MonkeyPatch, cpu_max: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda *_: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda *_: cpu_max)
    assert usable_cpus() == 8


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "avx2 avx512_vnni", False),
        ("x86_64", "avx2 avx_vnni", False),
        ("AMD64", "avx2 avx512bw", True),
        ("aarch64", "asimd", False),
    ],
)
def test_int8_saturates_on_x86_without_vnni(
    monkeypatch: pytest.MonkeyPatch, machine: str, flags: str, expected: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", lambda *_: f"model name : a CPU\nflags : {flags}\n")
    assert int8_saturates() is expected


# Graphs


def test_a_graph_runs_on_the_provider_asked_for(full_graph: Path) -> None:
    assert Graph(full_graph, device=CPU, threads=1).provider == "CPUExecutionProvider"


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


# Predictions


def test_a_prediction_is_the_top_label_and_its_calibrated_probability() -> None:
    found = Predictions.from_logits(np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]], np.float32), temperature=2.0)
    assert found.label_id.tolist() == [1, 0]
    powers = np.exp([[0.0, 1.0, 0.5], [1.5, 0.0, 0.0]])
    np.testing.assert_allclose(found.probabilities, powers / powers.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.score, [found.probabilities[0, 1], found.probabilities[1, 0]])


def test_the_temperature_never_changes_a_label() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    labels = {tuple(Predictions.from_logits(logits, temperature=t).label_id) for t in (0.05, 1.0, 20.0)}
    assert labels == {tuple(logits.argmax(axis=1))}


def test_a_tie_goes_to_the_first_label() -> None:
    found = Predictions.from_logits(np.zeros((1, 4), np.float32), temperature=1.0)
    assert (found.label_id.tolist(), found.score.tolist()) == ([0], [0.25])


def test_no_logits_give_no_predictions() -> None:
    found = Predictions.from_logits(np.zeros((0, 4), np.float32), temperature=1.0)
    assert (found.label_id.shape, found.score.shape, found.probabilities.shape) == ((0,), (0,), (0, 4))


# The classifier, on bundles of tiny graphs

MakeBundle = Callable[..., ModelBundle]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Make a bundle whose int8 graph says twice what its fp32 graph says."""

    def make(*, precisions: tuple[str, ...] = ("fp32",), margin: float | None = None) -> ModelBundle:
        passed = GraphParity(passed=True, papers=1, max_logit_difference=0, label_flips=0, tolerances={})
        entries = []
        for precision in precisions:
            file = save_graph(
                tmp_path / f"model_{precision}.onnx",
                ("input_ids", "attention_mask"),
                scale={"fp32": 1.0, "int8": 2.0}[precision],
            )
            entries.append(
                GraphEntry(
                    file=file.name,
                    precision=precision,
                    device="cpu",
                    sha256="",
                    opset=18,
                    deferral_margin=margin if precision == "int8" else None,
                    parity=passed,
                )
            )
        manifest = BundleManifest(
            format_version=1,
            fingerprint="",
            created_by="test",
            encoder="test",
            labels=("sum", "count"),
            text_template="{title}{abstract}",
            max_length=8,
            pooling="cls",
            head={},
            temperature=2.0,
            graphs=tuple(entries),
            files={},
            training={},
        )
        return ModelBundle(path=tmp_path, manifest=manifest)

    return make


@pytest.mark.parametrize("workers", [1, 3])
def test_logits_come_in_input_order_whatever_the_number_of_workers(make_bundle: MakeBundle, workers: int) -> None:
    classifier = OnnxClassifier(make_bundle(), device=CPU, threads=workers)
    assert classifier.logits(PAPERS).tolist() == [row[:2] for row in EXPECTED]
    classifier.close()


def test_predictions_use_the_temperature_of_the_bundle(make_bundle: MakeBundle) -> None:
    classifier = OnnxClassifier(make_bundle(), device=CPU, threads=1)
    found = classifier.predict([np.array([5, 1])])
    assert found.label_id.tolist() == [0]
    assert found.score.tolist() == pytest.approx([1 / (1 + np.exp(-(6 - 2) / 2))])
    classifier.close()


def test_no_papers_give_no_logits(make_bundle: MakeBundle) -> None:
    classifier = OnnxClassifier(make_bundle(), device=CPU, threads=1)
    assert classifier.logits([]).shape == (0, 2)
    classifier.close()


def test_a_close_call_of_the_int8_graph_is_asked_of_the_fp32_graph(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(precisions=("fp32", "int8"), margin=9.0)
    classifier = OnnxClassifier(bundle, device=CPU, threads=2)
    papers: list[TokenIds] = PAPERS
    # Margins under int8: 8, 0, 10, 12, 16; the first two are below 9.
    expected = [[6, 2], [1, 1], [18, 8], [14, 2], [22, 6]]
    assert classifier.logits(papers).tolist() == expected
    assert classifier.describe() == {"device": "cpu", "provider": "CPUExecutionProvider", "graph": "model_int8.onnx"}
    classifier.close()


def test_without_a_margin_the_int8_graph_has_the_last_word(make_bundle: MakeBundle) -> None:
    classifier = OnnxClassifier(make_bundle(precisions=("fp32", "int8")), device=CPU, threads=1)
    assert classifier.logits(PAPERS[:2]).tolist() == [[12, 4], [2, 2]]
    classifier.close()


def test_the_fp32_graph_runs_when_it_is_asked_for(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(precisions=("int8", "fp32"), margin=9.0)
    classifier = OnnxClassifier(bundle, device=CPU, precision="fp32", threads=1)
    assert classifier.logits(PAPERS[3:4]).tolist() == [[7, 1]]
    assert classifier.describe()["graph"] == "model_fp32.onnx"
    classifier.close()


def test_the_cores_at_hand_set_the_number_of_threads(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "usable_cpus", lambda: 3)
    classifier = OnnxClassifier(make_bundle(), device=CPU)
    assert classifier.threads == 3
    classifier.close()


# A card without enough memory: the graph runs on the CPU, and feeds above a size fail as they do on CUDA

# As onnxruntime words them: its arena cannot grow, or may not; CUDA fails; a library finds no room to work in.
NO_MEMORY = [
    (RuntimeException, OUT_OF_MEMORY),
    (
        RuntimeException,
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : BFCArena::AllocateRawInternal Available memory of 1024 is "
        "smaller than requested bytes of 4096",
    ),
    (
        Fail,
        "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc(&p, size);",
    ),
    (Fail, "[ONNXRuntimeError] : 1 : FAIL : CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0"),
    (EPFail, "[ONNXRuntimeError] : 11 : EP_FAIL : CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0"),
]


def on_small_card(bundle: ModelBundle, tokens: int, failure: Exception) -> tuple[OnnxClassifier, SmallCard]:
    classifier = OnnxClassifier(bundle, device=CPU, threads=1)
    card = SmallCard(classifier._graph._session, tokens, failure)
    classifier._graph._session = card
    classifier.device, classifier.max_batch_tokens = Device(kind="cuda"), runtime.CUDA_MAX_TOKENS
    return classifier, card


MANY = [np.arange(1, 2 + i % 7) for i in range(50)]
ALL_TOKENS = 50 * 7  # every paper in one batch, padded


@pytest.mark.parametrize(("kind", "message"), NO_MEMORY, ids=lambda value: str(value)[-30:])
def test_a_batch_that_does_not_fit_is_cut_in_half_and_no_paper_is_lost(
    make_bundle: MakeBundle, kind: type[Exception], message: str
) -> None:
    classifier, _ = on_small_card(make_bundle(), 100, kind(message))
    assert classifier.logits(MANY).tolist() == [[ids.sum(), len(ids)] for ids in MANY]
    classifier.close()


def test_the_smaller_budget_is_kept_and_logged_once_a_halving(
    make_bundle: MakeBundle, caplog: pytest.LogCaptureFixture
) -> None:
    classifier, card = on_small_card(make_bundle(), 100, RuntimeException(OUT_OF_MEMORY))
    classifier.logits(MANY)
    # 350 and 175 tokens do not fit, 87 do.
    assert classifier.max_batch_tokens == ALL_TOKENS // 4
    assert [record.message for record in caplog.records] == ["out of memory, smaller batches from now on"] * 2
    assert caplog.records[-1].fields == {"device": "cuda:0", "papers": 25, "max_batch_tokens": 87}  # type: ignore[attr-defined]
    card.fed.clear()
    classifier.logits(MANY)
    assert max(papers * seq_len for papers, seq_len in card.fed) <= 87
    assert len(caplog.records) == 2
    classifier.close()


def test_memory_that_runs_short_later_costs_only_the_batch_at_hand(make_bundle: MakeBundle) -> None:
    classifier, card = on_small_card(make_bundle(), 40, RuntimeException(OUT_OF_MEMORY))
    classifier.max_batch_tokens = 40
    fits = card._session.run

    def shrink(outputs: Any, feed: dict[str, TokenIds]) -> Any:
        card._tokens = 20 if len(card.fed) > 4 else 40
        return fits(outputs, feed)

    card._session = SimpleNamespace(run=shrink)
    assert classifier.logits(MANY).tolist() == [[ids.sum(), len(ids)] for ids in MANY]
    papers = sum(rows for rows, seq_len in card.fed if rows * seq_len <= 20) + sum(rows for rows, _ in card.fed[:5])
    assert (classifier.max_batch_tokens, papers) == (39 // 2, len(MANY))  # 13 papers of 3 tokens failed
    classifier.close()


def test_a_paper_that_does_not_fit_alone_is_an_error_that_names_its_length(make_bundle: MakeBundle) -> None:
    classifier, card = on_small_card(make_bundle(), 5, RuntimeException(OUT_OF_MEMORY))
    with pytest.raises(ProviderError, match=r"not hold one paper of 7 tokens .*max_length is 8.*--device cpu"):
        classifier.logits(MANY)
    assert card.fed[-1] == (1, 7)
    classifier.close()


def test_any_other_failure_is_not_taken_for_a_lack_of_memory(make_bundle: MakeBundle) -> None:
    failure = Fail("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was encountered")
    classifier, card = on_small_card(make_bundle(), 100, failure)
    with pytest.raises(Fail, match="illegal memory access"):
        classifier.logits(MANY)
    assert len(card.fed) == 1
    classifier.close()


def test_labelling_needs_none_of_the_training_packages() -> None:
    code = (
        "import sys, onnxruntime\n"
        "import specter_batch.runtime, specter_batch.papers, specter_batch.language, specter_batch.scores\n"
        "heavy = {'torch', 'transformers', 'optimum', 'datasets', 'accelerate', 'sklearn', 'pandas', 'onnx'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
