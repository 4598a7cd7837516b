"""Bundles of old formats stay readable, and say what they always said.

`bundle_v1` was made by `python tests/golden/make_bundle.py tests/golden/bundle_v1`, and `bundle_v1_expected.json` with
it. When this fails after a change, the change breaks the bundles of others: the change is to be mended, not the bundle.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specter_batch.errors import BundleError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.ranking import Predictions
from specter_batch.model.session import Graph
from specter_batch.model.tokens.encoding import TokenIds, pad_batch
from specter_batch.papers.text import paper_text

BUNDLE = Path(__file__).parent / "bundle_v1"
EXPECTED: dict[str, Any] = json.loads(BUNDLE.with_name("bundle_v1_expected.json").read_text())
# Other CPUs add in another order; with int8 and fp16 a value may then be rounded to the next step.
TOLERANCES = {"model.onnx": 1e-4, "model_int8.onnx": 0.05, "model_fp16.onnx": 0.02}


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return ModelBundle.open(BUNDLE)


@pytest.fixture(scope="module")
def token_ids(bundle: ModelBundle) -> list[TokenIds]:
    texts = [paper_text(row["title"], row["abstract"], bundle.text_template) for row in EXPECTED["papers"]]
    return bundle.text_encoder().encode(texts)


def predictions(bundle: ModelBundle, token_ids: list[TokenIds]) -> Predictions:
    classifier = OnnxClassifier(bundle, device=Device(kind="cpu"), threads=1)
    found = classifier.predict(token_ids)
    classifier.close()
    return found


def test_it_opens_with_the_fingerprint_it_was_made_with(bundle: ModelBundle) -> None:
    assert bundle.manifest.format_version == 1
    assert bundle.fingerprint == EXPECTED["fingerprint"] == bundle.manifest.expected_fingerprint()


def test_it_holds_all_that_a_bundle_holds(bundle: ModelBundle) -> None:
    assert [(graph.precision, graph.device) for graph in bundle.manifest.graphs] == [
        ("fp32", "cpu"),
        ("int8", "cpu"),
        ("fp16", "cuda"),
    ]
    assert bundle.graph_for("cpu", "int8").deferral_margin is not None
    assert len(bundle.seen_texts())
    assert bundle.reference().label_shares.keys() == set(bundle.labels)


def test_texts_become_the_same_tokens(token_ids: list[TokenIds]) -> None:
    assert [ids.tolist() for ids in token_ids] == EXPECTED["token_ids"]


@pytest.mark.parametrize("file", TOLERANCES)
def test_every_graph_gives_the_logits_it_gave(bundle: ModelBundle, token_ids: list[TokenIds], file: str) -> None:
    graph = Graph(bundle.path / file, device=Device(kind="cpu"), threads=1)
    for ids, expected in zip(token_ids, EXPECTED["logits"][file], strict=True):
        batch = pad_batch([ids], np.zeros(1, dtype=np.int64))
        np.testing.assert_allclose(graph.logits(batch)[0], expected, rtol=0, atol=TOLERANCES[file])


def test_the_job_gives_the_labels_and_scores_it_gave(bundle: ModelBundle, token_ids: list[TokenIds]) -> None:
    found = predictions(bundle, token_ids)
    assert [bundle.labels.names[i] for i in found.label_id] == EXPECTED["labels"]
    np.testing.assert_allclose(found.score, EXPECTED["scores"], rtol=0, atol=0.02)


def test_it_gives_labels_and_no_embeddings(bundle: ModelBundle, token_ids: list[TokenIds]) -> None:
    written = json.loads((BUNDLE / "bundle.json").read_text())
    assert bundle.manifest.model_dump(mode="json") == written
    assert bundle.manifest.embedding_size is None
    classifier = OnnxClassifier(bundle, device=Device(kind="cpu"), threads=1)
    with pytest.raises(BundleError, match="because an older version exported it; make a bundle that gives both"):
        classifier.predict(token_ids, embeddings=True)
    classifier.close()


def test_it_could_show_a_difference() -> None:
    logits = {file: np.array(values) for file, values in EXPECTED["logits"].items()}
    assert len(set(EXPECTED["labels"])) > 2
    assert logits["model.onnx"].std(axis=0).min() > 10 * TOLERANCES["model_int8.onnx"]
    assert all(not np.array_equal(logits["model.onnx"], logits[file]) for file in TOLERANCES if file != "model.onnx")


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in BUNDLE.iterdir()) < 300_000
