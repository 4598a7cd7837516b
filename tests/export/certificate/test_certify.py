from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import ParityError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.session import Graph, Logits, logits_alone
from specter_batch.model.tokens.encoding import EncodedBatch
from specter_batch.training.demo.sample import make_papers
from specter_batch.training.run.folder import TrainingRun
from specter_export.build import build_bundle
from specter_export.certificate.certify import (
    CertificateProgress,
    Certified,
    Certifier,
    CheckedPapers,
    logits_in_batches,
)
from specter_export.certificate.papers import CalibrationInput
from specter_export.certificate.sources import CertificatePapers
from specter_export.recipe import DEFAULT_RECIPES, Certification, Recipe, load_recipe

PAPERS = 800


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("dump") / "dump.parquet"
    pq.write_table(make_papers(n_papers=PAPERS, seed=77), file)
    return file


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def bundle(tiny_run: TrainingRun, dump: Path, said: list[str], tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    out = tmp_path_factory.mktemp("certified") / "bundle"
    recipes = [load_recipe(name) for name in DEFAULT_RECIPES]
    build_bundle(tiny_run, out, recipes=recipes, calibration=CalibrationInput(source=dump), say=said.append)
    return ModelBundle.open(out)


def test_unseen_papers_certify_both_fast_graphs(bundle: ModelBundle, said: list[str]) -> None:
    reference, int8, fp16 = bundle.manifest.graphs
    assert reference.certificate is None
    assert int8.certificate is not None
    assert fp16.certificate is not None
    for held in (int8.certificate, fp16.certificate):
        assert held.epsilon == held.target == 0.005
        assert held.papers == PAPERS - PAPERS // 5
        assert held.source == "calibration papers"
    assert int8.certificate.margin == int8.deferral_margin
    assert fp16.certificate.margin is None
    assert fp16.certificate.sentence.endswith("It was checked on CPU, and is made for CUDA.")
    assert f"{PAPERS:,} of {PAPERS:,} papers are used" in said[0]


def test_the_certificate_counts_what_the_job_answers(bundle: ModelBundle, dump: Path) -> None:
    """The papers that chose the margins agree as well, or the margin would not have been among the candidates."""
    papers = pq.read_table(dump).to_pylist()
    token_ids = bundle.text_encoder().encode([f"{row['title']}[SEP]{row['abstract']}" for row in papers])
    labels = {}
    for precision in ("int8", "fp32"):
        classifier = OnnxClassifier(bundle, device=Device(kind="cpu"), precision=precision)
        labels[precision] = classifier.predict(token_ids).label_id
        classifier.close()
    held = bundle.graph_for("cpu", "int8").certificate
    assert held is not None
    differing = int((labels["int8"] != labels["fp32"]).sum())
    assert held.disagreements <= differing <= held.disagreements + 0.01 * held.fitting_papers


def test_a_recipe_can_require_its_promise(tiny_run: TrainingRun, tmp_path: Path) -> None:
    recipe = load_recipe("cpu-int8").model_copy(update={"certificate": Certification(required=True)})
    with pytest.raises(
        ParityError, match=r"show that at most 3 % of labels differ, and the recipe requires 0\.5 %; give mo"
    ):
        build_bundle(tiny_run, tmp_path / "bundle", recipes=[recipe], say=lambda _: None)


class FakeGraph:
    """A graph whose logits are a function of the batch."""

    def __init__(self, logits: Callable[[EncodedBatch], Logits]) -> None:
        self.logits = logits


def certified(
    recipe: Recipe, fast: Callable[[EncodedBatch], Logits], exact: Callable[[int], list[float]], *, papers: int = 700
) -> tuple[Certified, list[str]]:
    """Certify a graph on papers whose only token is their number; the first 100 choose the margins."""
    said: list[str] = []
    token_ids = [np.array([number]) for number in range(papers + 100)]
    logits = np.array([exact(number) for number in range(papers + 100)], dtype=np.float32)
    texts = tuple(map(str, range(papers + 100)))
    certifier = Certifier(
        papers=CertificatePapers(source="calibration papers", fitting=texts[:100], checking=texts[100:]),
        fitting=CheckedPapers(token_ids=token_ids[:100], exact=logits[:100]),
        checking=CheckedPapers(token_ids=token_ids[100:], exact=logits[100:]),
        reference_sha256="22",
        progress=CertificateProgress(None, said.append),
    )
    graph = cast("Any", FakeGraph(fast))
    return certifier.certify(graph, recipe, graph_sha256="11", checked_on="cpu"), said


def near_tie(batch: EncodedBatch) -> Logits:
    lead = np.where(batch.input_ids[:, :1] % 2 == 0, 1e-3, -1e-3)
    return np.concatenate([lead, np.zeros_like(lead)], axis=1).astype(np.float32)


def test_near_ties_are_all_run_again_and_the_user_is_told() -> None:
    found, said = certified(load_recipe("cpu-int8"), near_tie, lambda number: [1e-3 * (-1) ** (number // 2), 0.0])
    assert found.certificate is not None
    assert (found.certificate.disagreements, found.certificate.deferred) == (0, 700)
    assert any("100% of the papers are too close to call and run again with the exact model" in one for one in said)


def test_what_fp16_cannot_show_is_promised_less_and_the_user_is_told() -> None:
    """A tenth of the labels differ, and fp16 has no deferral."""
    recipe = load_recipe("cuda-fp16")
    found, said = certified(recipe, near_tie, lambda number: [-1.0 if number % 10 == 0 else 1e-3 * (-1) ** number, 0])
    assert found.margin is None
    assert found.certificate is not None
    assert found.certificate.disagreements == 70
    assert found.certificate.epsilon == found.certificate.upper_bound > 0.1
    assert said == [
        "warning: model_fp16.onnx: the certificate promises that at most 13 % of labels differ, not 0.5 %, because 70 "
        "of 700 labels differ; add --calibration with more unseen papers"
    ]


@pytest.mark.parametrize("target", [0.0, 5e-324])
def test_that_no_label_differs_cannot_be_promised_and_the_user_is_told(target: float) -> None:
    recipe = load_recipe("cpu-int8")
    strict = recipe.model_copy(update={"tolerances": recipe.tolerances.model_copy(update={"max_label_flips": target})})
    found, said = certified(strict, near_tie, lambda number: [1e-3 * (-1) ** (number // 2), 0.0])
    assert found.certificate is not None
    assert (found.certificate.disagreements, found.certificate.target) == (0, target)
    assert said[0] == (
        "warning: model_int8.onnx: the certificate promises that at most 0.43 % of labels differ, not 0 %, because no "
        "number of papers can show that; set a larger max_label_flips"
    )


def test_too_few_papers_promise_less_and_the_user_is_told() -> None:
    found, said = certified(load_recipe("cpu-int8"), near_tie, lambda n: [1e-3 * (-1) ** n, 0.0], papers=300)
    assert found.certificate is not None
    assert found.certificate.disagreements == 0
    assert found.certificate.epsilon == pytest.approx(1 - 0.05 ** (1 / 300))
    assert "at most 1 % of labels differ, not 0.5 %, because 300 papers are too few, 598 are needed even" in said[0]


def test_a_recipe_without_tolerance_promises_nothing() -> None:
    recipe = load_recipe("cpu-int8")
    loose = recipe.model_copy(update={"tolerances": recipe.tolerances.model_copy(update={"max_label_flips": None})})
    assert certified(loose, near_tie, lambda _: [1.0, 0.0]) == (Certified(), [])


def test_batches_give_each_paper_its_own_logits(bundle: ModelBundle, dump: Path) -> None:
    papers = pq.read_table(dump).slice(0, 100).to_pylist()
    texts = [
        row["title"] if number % 3 else f"{row['title']}[SEP]{row['abstract']}" for number, row in enumerate(papers)
    ]
    token_ids = bundle.text_encoder().encode(texts)
    graph = Graph.of_bundle(bundle, bundle.graph_for("cpu", "fp32"), device=Device(kind="cpu"), threads=1)
    done: list[int] = []
    batched = logits_in_batches(graph, token_ids, done.append)
    assert np.allclose(batched, logits_alone(graph, token_ids, threads=2), atol=1e-4)
    assert sum(done) == 100
