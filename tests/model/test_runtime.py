import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail, Fail, RuntimeException

from specter_batch.cpus import usable_cpus
from specter_batch.errors import BundleError, ProviderError
from specter_batch.model import predictions as runtime
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.manifest import BundleManifest, GraphEntry, GraphParity
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.ranking import Predictions
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.storage.files import file_sha256
from support.small_card import OUT_OF_MEMORY, SmallCard
from support.tiny_graphs import EXPECTED, PAPERS, save_graph

CPU = Device(kind="cpu")
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


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_paper_with_a_logit_that_is_not_finite_has_no_label(odd: float) -> None:
    logits = np.array([[0.0, 1.0], [odd, 1.0], [odd, odd], [3.0, 1.0]], np.float32)
    found = Predictions.from_logits(logits, temperature=0.5)
    assert found.is_finite.tolist() == [True, False, False, True]
    assert found.label_id[found.is_finite].tolist() == [1, 0]
    assert np.isfinite(found.score).all()


def test_logits_that_the_temperature_makes_infinite_are_no_label() -> None:
    found = Predictions.from_logits(np.array([[1e30, 1.0]], np.float32), temperature=1e-300)
    assert found.is_finite.tolist() == [False]


def test_no_logits_give_no_predictions() -> None:
    found = Predictions.from_logits(np.zeros((0, 4), np.float32), temperature=1.0)
    assert (found.label_id.shape, found.score.shape, found.probabilities.shape) == ((0,), (0,), (0, 4))


# The classifier, on bundles of tiny graphs

MakeBundle = Callable[..., ModelBundle]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Make a bundle whose int8 graph says twice what its fp32 graph says."""

    def make(
        *,
        precisions: tuple[str, ...] = ("fp32",),
        margin: float | None = None,
        int8_scale: float = 2.0,
        embeddings: bool = False,
        format_version: int = 1,
    ) -> ModelBundle:
        passed = GraphParity(passed=True, papers=1, max_logit_difference=0, label_flips=0, tolerances={})
        entries = []
        for precision in precisions:
            file = save_graph(
                tmp_path / f"model_{precision}.onnx",
                ("input_ids", "attention_mask"),
                scale={"fp32": 1.0, "int8": int8_scale}[precision],
                embeddings=embeddings,
            )
            entries.append(
                GraphEntry(
                    file=file.name,
                    precision=precision,
                    device="cpu",
                    sha256=file_sha256(file),
                    opset=18,
                    embedding_size=4 if embeddings else None,
                    deferral_margin=margin if precision == "int8" else None,
                    parity=passed,
                )
            )
        manifest = BundleManifest(
            format_version=format_version,
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
        return ModelBundle(path=tmp_path, place=tmp_path, manifest=manifest)

    return make


@pytest.mark.parametrize("workers", [1, 3])
def test_logits_come_in_input_order_whatever_the_number_of_workers(make_bundle: MakeBundle, workers: int) -> None:
    classifier = OnnxClassifier(make_bundle(), device=CPU, threads=workers)
    assert classifier.logits(PAPERS).tolist() == [row[:2] for row in EXPECTED]
    classifier.close()


def test_embeddings_come_in_input_order_with_the_same_predictions(make_bundle: MakeBundle) -> None:
    classifier = OnnxClassifier(make_bundle(embeddings=True), device=CPU, threads=3)
    with_vectors, without = classifier.predict(PAPERS, embeddings=True), classifier.predict(PAPERS)
    assert without.embeddings is None
    assert with_vectors.embeddings is not None
    assert with_vectors.embeddings.tolist() == [row[:2] * 2 for row in EXPECTED]
    assert with_vectors.score.tolist() == without.score.tolist()
    empty = classifier.predict([], embeddings=True).embeddings
    assert empty is not None
    assert empty.shape == (0, 4)
    classifier.close()


def test_the_embedding_is_of_the_graph_that_gave_the_label(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(precisions=("fp32", "int8"), margin=8.0, embeddings=True)
    classifier = OnnxClassifier(bundle, device=CPU, threads=2)
    logits, embeddings = classifier.logits_and_embeddings(PAPERS)
    assert logits.tolist() == classifier.logits(PAPERS).tolist()
    assert embeddings.tolist() == np.hstack([logits, logits]).tolist()
    # int8 leads by twice the fp32 lead: the papers of a small lead have the numbers of fp32.
    leads = [sums - count for sums, count, _ in EXPECTED]
    expected = [[n * (1 if 2 * lead < 8 else 2) for n in row[:2]] for row, lead in zip(EXPECTED, leads, strict=True)]
    assert logits.tolist() == expected
    assert 0 < sum(2 * lead < 8 for lead in leads) < len(leads)
    classifier.close()


def test_a_bundle_without_embeddings_says_what_to_do(make_bundle: MakeBundle) -> None:
    classifier = OnnxClassifier(make_bundle(), device=CPU, threads=1)
    with pytest.raises(BundleError, match=r"give labels and no embeddings.*specter-batch export RUN BUNDLE"):
        classifier.predict(PAPERS, embeddings=True)
    classifier.close()


def test_predictions_use_the_temperature_of_the_bundle(make_bundle: MakeBundle) -> None:
    classifier = OnnxClassifier(make_bundle(), device=CPU, threads=1)
    found = classifier.predict([np.array([5, 1])])
    assert found.label_id.tolist() == [0]
    assert found.score.tolist() == pytest.approx([1 / (1 + np.exp(-(6 - 2) / 2))])
    classifier.close()


def test_graphs_of_format_2_have_divided_the_logits_already(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(format_version=2)
    assert (bundle.temperature, bundle.logit_divisor) == (2.0, 1.0)
    classifier = OnnxClassifier(bundle, device=CPU, threads=1)
    found = classifier.predict([np.array([5, 1])])
    assert found.score.tolist() == pytest.approx([1 / (1 + np.exp(-(6 - 2)))])
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


def test_what_is_not_finite_under_int8_is_asked_of_the_fp32_graph(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(precisions=("fp32", "int8"), margin=0.5, int8_scale=float("inf"))
    classifier = OnnxClassifier(bundle, device=CPU, threads=2)
    assert classifier.logits(PAPERS).tolist() == [row[:2] for row in EXPECTED]
    classifier.close()
    bundle = make_bundle(precisions=("fp32", "int8"), int8_scale=float("nan"))
    classifier = OnnxClassifier(bundle, device=CPU, threads=2)
    assert not classifier.predict(PAPERS).is_finite.any()
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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can pin a process to a core")
def test_the_cores_at_hand_set_the_number_of_threads(make_bundle: MakeBundle) -> None:
    bundle, before = make_bundle(), os.sched_getaffinity(0)
    for cores in (before, {min(before)}):
        os.sched_setaffinity(0, cores)
        try:
            classifier, usable = OnnxClassifier(bundle, device=CPU), usable_cpus()
        finally:
            os.sched_setaffinity(0, before)
        assert classifier.threads == usable <= len(cores)
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


def on_small_card(
    bundle: ModelBundle, tokens: int, failure: Exception, *, length_multiple: int | None = 1
) -> tuple[OnnxClassifier, SmallCard]:
    """Batches are as long as their longest paper: these are shorter than what lengths are rounded up to in earnest."""
    classifier = OnnxClassifier(bundle, device=CPU, threads=1)
    card = SmallCard(classifier._graph._session, tokens, failure)
    classifier._graph._session = card
    classifier.device, classifier.max_batch_tokens = Device(kind="cuda"), runtime.CUDA_MAX_TOKENS
    classifier.length_multiple = length_multiple or classifier.length_multiple
    return classifier, card


def test_batches_for_a_card_have_few_lengths_and_none_above_what_the_model_reads(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    classifier, card = on_small_card(bundle, 10_000, RuntimeException(OUT_OF_MEMORY), length_multiple=None)
    classifier._max_length = 70
    papers = [np.arange(1, 2 + i) for i in range(70)]
    assert classifier.logits(papers).tolist() == [[ids.sum(), len(ids)] for ids in papers]
    classifier.max_batch_tokens = 500
    classifier.logits(papers)
    assert {length for _, length in card.fed} == {32, 64, 70}
    classifier.close()


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
    with pytest.raises(
        ProviderError, match=r"too little free memory for one paper of 7 .*max_length is 8.*--device cpu"
    ):
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
        "import specter_batch.model.predictions, specter_batch.papers.parquet\n"
        "import specter_batch.papers.language, specter_batch.metrics.scores\n"
        "heavy = {'torch', 'transformers', 'optimum', 'datasets', 'accelerate', 'sklearn', 'pandas', 'onnx'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
