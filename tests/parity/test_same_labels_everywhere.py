"""The job, a pipeline of transformers and the script on the page about bundles give the same labels and scores."""

import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from optimum.onnxruntime import ORTModelForSequenceClassification
from rich.console import Console
from transformers import AutoTokenizer, pipeline

from specter_batch.metrics.f1 import margins
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.manifest import MANIFEST_FILE, BundleManifest
from specter_batch.model.session import Graph, logits_alone
from specter_batch.papers.text import paper_text
from specter_batch.training.demo.sample import make_papers
from specter_jobs.night.run import run_night
from specter_jobs.plan.config import NightConfig
from support.pages import blocks

N_PAPERS = 500
TOLERANCE = 1e-6
# Label and score of each paper, in order.
Labelled = tuple[list[str], npt.NDArray[np.float64]]


@pytest.fixture(scope="module")
def papers() -> list[dict[str, Any]]:
    """Return papers of usual length, with title alone, and far longer than the model reads."""
    rows = make_papers(n_papers=N_PAPERS, seed=11).to_pylist()
    for number, row in enumerate(rows):
        if number % 10 == 0:
            row["abstract"] = None
        elif number % 10 == 1:
            row["abstract"] = " ".join([row["abstract"]] * 12)
        elif number % 10 == 2:
            row["title"] = f"  {row['title']} "
    return rows


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle whose job runs many papers again with the fp32 graph."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("deferring") / "bundle"))
    manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
    for graph in manifest["graphs"]:
        if graph["precision"] == "int8":
            graph["deferral_margin"] = 4.0
            graph.pop("certificate", None)
    manifest["fingerprint"] = BundleManifest.model_validate_json(json.dumps(manifest)).expected_fingerprint()
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def job(
    papers: list[dict[str, Any]], bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Labelled]:
    """Return a function that labels the papers in the nightly job with a graph."""
    folder = tmp_path_factory.mktemp("job")
    columns = {name: [row[name] for row in papers] for name in ("title", "abstract")}
    ids = [f"p{number}" for number in range(len(papers))]
    pq.write_table(pa.table({"paper_id": ids, **columns}), folder / "papers.parquet")

    def label(graph: str) -> Labelled:
        values = {"dump": str(folder / "papers.parquet"), "out": folder / graph, "bundle": bundle, "device": "cpu"}
        config = NightConfig.load(None, {**values, "graph": graph, "language": "any", "missing_abstract": "title_only"})
        run_night(config, console=Console(file=StringIO()))
        rows = pq.read_table(folder / graph / "labels").sort_by("row")
        assert rows["row"].to_pylist() == list(range(N_PAPERS))
        return rows["label"].to_pylist(), rows["score"].to_numpy()

    return label


def texts_of(papers: list[dict[str, Any]], opened: ModelBundle) -> list[str]:
    return [paper_text(row["title"], row["abstract"], opened.text_template) for row in papers]


def in_a_pipeline(folder: Path, file: str, texts: list[str]) -> Labelled:
    model = ORTModelForSequenceClassification.from_pretrained(folder, file_name=file)
    classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
    found = classify(texts, truncation=True)
    return [row["label"] for row in found], np.array([row["score"] for row in found])


def assert_same(found: Labelled, expected: Labelled, *, papers: npt.NDArray[np.bool_] | None = None) -> None:
    chosen = np.ones(N_PAPERS, dtype=np.bool_) if papers is None else papers
    assert (np.array(found[0]) == np.array(expected[0]))[chosen].all()
    np.testing.assert_allclose(found[1][chosen], expected[1][chosen], rtol=0, atol=TOLERANCE)


def test_a_pipeline_with_the_fp32_graph_gives_the_labels_and_scores_of_the_job(
    job: Callable[[str], Labelled], papers: list[dict[str, Any]], bundle: Path
) -> None:
    texts = texts_of(papers, ModelBundle.open(bundle))
    expected = job("fp32")
    assert_same(in_a_pipeline(bundle, "model.onnx", texts), expected)
    assert len(set(expected[0])) > 3
    assert np.ptp(expected[1]) > 0.2

    labels, scores = in_a_pipeline(bundle, "model_fp16.onnx", texts)
    np.testing.assert_allclose(scores, expected[1], rtol=0, atol=0.01)
    assert sum(one != other for one, other in zip(labels, expected[0], strict=True)) <= N_PAPERS / 100


def test_a_pipeline_with_the_int8_graph_differs_only_where_the_job_runs_papers_again(
    job: Callable[[str], Labelled], papers: list[dict[str, Any]], bundle: Path
) -> None:
    opened = ModelBundle.open(bundle)
    texts, entry = texts_of(papers, opened), opened.graph_for("cpu", "int8")
    graph = Graph.of_bundle(opened, entry, device=Device(kind="cpu"), threads=1)
    again = margins(logits_alone(graph, opened.text_encoder().encode(texts))) < (entry.deferral_margin or 0)
    expected = job("int8")
    assert_same(in_a_pipeline(bundle, entry.file, texts), expected, papers=~again)
    assert_same(in_a_pipeline(bundle, "model.onnx", texts), expected, papers=again)
    assert 20 < again.sum() < N_PAPERS - 20


def test_the_script_on_the_page_gives_all_labels_and_scores_of_the_job(
    job: Callable[[str], Labelled], papers: list[dict[str, Any]], bundle: Path
) -> None:
    (shown,) = [text for language, text in blocks("docs/bundle.md") if language == "python" and "def label(" in text]
    assert "bundles/sample" in shown
    script: dict[str, Any] = {}
    exec(shown.replace("bundles/sample", str(bundle)), script)  # noqa: S102 - our own page
    found = [script["label"](row["title"], row["abstract"]) for row in papers]
    assert_same(([label for label, _ in found], np.array([score for _, score in found])), job("int8"))
