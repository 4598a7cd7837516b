"""What a classifier answers: the labels of the nightly job, from several threads too, and what it says about itself."""

import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import specter_batch
from specter_batch import Classifier
from specter_batch.classifier import labelling
from specter_batch.classifier.recent_texts import RecentResults, RecentTexts
from specter_batch.classifier.settings import ClassifierSettings
from specter_batch.errors import BundleError, ConfigError, ProviderError
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.tokens.fast_path import TEXTS_BEFORE_LOADING
from specter_batch.training.demo.sample import make_papers
from specter_jobs.night.run import run_night
from specter_jobs.plan.config import NightConfig
from support.papers_on_disk import ENGLISH, GERMAN, paper

GOLDEN_BUNDLE = Path(__file__).parents[1] / "golden/bundle_v1"


def mixed_papers() -> pa.Table:
    """Return papers of which some cannot be labelled, and some have the text of another one."""
    sample = make_papers(n_papers=60).drop_columns(["label"]).to_pylist()
    odd = [
        {"title": None}, {"title": " "}, {"abstract": None}, {"abstract": "N/A"}, {"abstract": GERMAN * 2},
        {"title": "Sex: a title", "abstract": "Six words are hardly enough here."}, {"title": "Null"},
    ]  # fmt: skip
    rows = [*sample[:40], *(paper(i, **changes) for i, changes in enumerate(odd)), *sample[40:]]
    rows += [row | {"paper_id": f"copy of {row['paper_id']}"} for row in sample[:20]]
    return pa.Table.from_pylist(rows, schema=pa.schema([(n, pa.string()) for n in ("paper_id", "title", "abstract")]))


@pytest.mark.parametrize("settings", [{}, {"language": "any", "missing_abstract": "title_only", "min_characters": 60}])
def test_labels_scores_and_rejects_are_those_of_the_nightly_job(settings: dict[str, Any], tmp_path: Path) -> None:
    papers = mixed_papers()
    (tmp_path / "papers").mkdir()
    pq.write_table(papers, tmp_path / "papers/a.parquet")
    values = {"dump": str(tmp_path / "papers"), "out": tmp_path / "out", "bundle": GOLDEN_BUNDLE, "device": "cpu"}
    config = NightConfig.load(None, values | {"probabilities": True} | settings)
    run_night(config, console=Console(quiet=True))
    night = {row["paper_id"]: row for row in pq.read_table(tmp_path / "out/labels").to_pylist()}
    rejects = {row["row"]: row for row in pq.read_table(tmp_path / "out/rejects").to_pylist()}
    assert len(rejects) > 2
    with Classifier.load(GOLDEN_BUNDLE, device="cpu", **settings) as classifier:
        labelled = classifier.predict(papers, probabilities=True).to_pylist()
    for number, row in enumerate(labelled):
        if row["label"] is None:
            assert row["reject_reason"] == rejects[number]["reason"]
            assert row["reject_detail"] == rejects[number]["detail"]
        else:
            for name in ("label", "score", "runner_up", "margin", "probabilities"):
                assert row[name] == night[row["paper_id"]][name], name
    assert len(night) + len(rejects) == len(labelled)


def test_more_columns_follow_from_the_probabilities(classifier: Classifier) -> None:
    papers = make_papers(n_papers=20).drop_columns(["label"])
    table = classifier.predict(papers, top_k=3, probabilities=True)
    probabilities = np.array(table["probabilities"].to_pylist())
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    assert table["top_labels"].to_pylist() == [[classifier.labels[i] for i in row] for row in order]
    scores = np.array(table["top_scores"].to_pylist())
    np.testing.assert_allclose(scores, np.take_along_axis(probabilities, order, axis=1), rtol=1e-6)
    assert table["score"].to_pylist() == scores[:, 0].tolist()
    assert [row[1] for row in table["top_labels"].to_pylist()] == table["runner_up"].to_pylist()
    assert table["margin"].to_pylist() == (scores[:, 0] - scores[:, 1]).tolist()
    assert {len(row) for row in classifier.predict(papers, top_k=11)["top_labels"].to_pylist()} == {11}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"top_k": 0}, ConfigError, "top_k: expected at least 1, got 0"),
        ({"top_k": 99}, ConfigError, "top_k=99: the bundle has only 11 labels; give top_k=11 or less"),
        *(({"top_k": wrong}, ConfigError, "top_k: expected a whole number, got ") for wrong in (1.5, "x", True, [2])),
        ({"prefix": None}, TypeError, "prefix should be text, got NoneType; leave it out"),
        ({"title_column": ""}, ConfigError, "title_column: the name is empty"),
        ({"abstract_column": ""}, ConfigError, "abstract_column: the name is empty"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    classifier: Classifier, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    papers = pa.Table.from_pylist([paper(0)])
    for given in (papers, papers.to_reader()):
        with pytest.raises(error, match=message):
            classifier.predict(given, **arguments)


def test_a_numpy_number_is_a_whole_number(classifier: Classifier) -> None:
    labelled = classifier.predict(pa.Table.from_pylist([paper(0)]), top_k=np.int64(2))
    assert len(labelled["top_labels"][0]) == 2


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        *(
            (place, TypeError, "bundle should be a path or URL, as text or pathlib.Path, got ")
            for place in (None, 3, b"x")
        ),
        ("", ConfigError, "bundle: the path is empty; give a path, or . for the current folder"),
    ],
)
def test_a_bundle_is_a_path_or_url(place: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Classifier.load(place)


def test_embeddings_need_a_bundle_that_has_them(classifier: Classifier, tiny_bundle: Path) -> None:
    papers = make_papers(n_papers=12).drop_columns(["label"])
    with pytest.raises(BundleError, match="embedding"):
        classifier.predict(papers, embeddings=True)
    with Classifier.load(tiny_bundle, device="cpu") as other:
        table = other.predict(pa.concat_tables([papers, papers.slice(0, 3)]), embeddings=True)
        assert table["embedding"].type == pa.list_(pa.float16(), 32)
        vectors = np.array(table["embedding"].to_pylist())
        assert np.unique(vectors[:12], axis=0).shape == (12, 32)
        assert np.array_equal(vectors[:3], vectors[12:])
        assert table["score"].equals(other.predict(table.select(papers.column_names))["score"])


def test_labels_do_not_depend_on_the_tokenizer_that_is_chosen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="specter_batch")
    papers = pa.Table.from_pylist([paper(number) for number in range(TEXTS_BEFORE_LOADING + 200)])
    found = []
    for tokenizer, events in (("auto", ["tokenizer chosen"]), ("tokenizers", [])):
        caplog.clear()
        with Classifier.load(GOLDEN_BUNDLE, device="cpu", tokenizer=tokenizer, language="any") as classifier:
            found.append(classifier.predict(papers))
        assert [r.getMessage() for r in caplog.records if r.getMessage().startswith("tokenizer ")] == events
    assert found[0].equals(found[1])
    with pytest.raises(ConfigError, match="tokenizer: "):
        Classifier.load(GOLDEN_BUNDLE, tokenizer="nanotoken")


def test_several_threads_may_use_one_classifier(classifier: Classifier) -> None:
    papers = mixed_papers()
    expected = classifier.predict(papers)
    with ThreadPoolExecutor(4) as threads:
        for labelled in threads.map(lambda _: classifier.predict(papers), range(8)):
            assert labelled.equals(expected)


def test_equal_texts_are_labelled_once(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    logits = OnnxClassifier.logits

    def counted(self: OnnxClassifier, token_ids: Any) -> Any:
        asked.append(len(token_ids))
        return logits(self, token_ids)

    monkeypatch.setattr(OnnxClassifier, "logits", counted)
    papers = pa.Table.from_pylist([paper(i, abstract=f"{ENGLISH} {i % 50}", title="One") for i in range(500)])
    labelled = classifier.predict(papers)
    assert len(asked) > 1
    assert sum(asked) == 50
    assert labelled["score"].to_pylist() == labelled["score"].to_pylist()[:50] * 10


def test_recent_texts_forget_the_oldest() -> None:
    results = RecentResults(1, kept_bytes=3 * 254)
    texts = RecentTexts(results.slots)
    assert results.slots == 3
    generator = np.random.default_rng(0)
    asked = 0
    for _ in range(200):
        hashes = [str(number) for number in generator.integers(0, 8, size=generator.integers(0, 6))]
        plan = texts.plan(hashes)
        asked += len(plan.fresh)
        fresh = np.array([[float(hashes[at])] for at in plan.fresh.tolist()], np.float32).reshape(-1, 1)
        assert results.complete(plan, fresh)[:, 0].tolist() == [float(one) for one in hashes]
    assert 200 < asked < 450


def test_a_closed_classifier_says_so() -> None:
    with Classifier.load(GOLDEN_BUNDLE, device="cpu", threads=1) as classifier:
        pass
    with pytest.raises(ValueError, match="closed; make another one"):
        classifier.predict(pd.DataFrame())
    assert "closed=yes" in repr(classifier)


def test_closing_ends_a_stream() -> None:
    table = pa.Table.from_pylist([paper(i) for i in range(400)])
    for read_before in (False, True):
        classifier = Classifier.load(GOLDEN_BUNDLE, device="cpu", threads=1)
        reader = classifier.predict(table.to_reader(max_chunksize=100))
        if read_before:
            reader.read_next_batch()
        classifier.close()
        with pytest.raises(ValueError, match="closed; make another one"):
            reader.read_all()


def test_closing_ends_a_running_predict(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier.load(GOLDEN_BUNDLE, device="cpu", threads=1)
    logits, busy = OnnxClassifier.logits, Event()

    def noticed(self: OnnxClassifier, token_ids: Any) -> Any:
        busy.set()
        return logits(self, token_ids)

    monkeypatch.setattr(OnnxClassifier, "logits", noticed)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(classifier.predict, pa.Table.from_pylist([paper(i) for i in range(3000)]))
        assert busy.wait(60)
        classifier.close()
        with pytest.raises(ValueError, match="closed; make another one"):
            running.result()


def test_it_shows_model_labels_and_device(classifier: Classifier) -> None:
    assert repr(classifier).startswith(f"<Classifier bundle={GOLDEN_BUNDLE}, encoder=")
    assert "labels=11 (Cardiovascular diseases, Chronic kidney disease, Chronic respiratory diseases, …)" in repr(
        classifier
    )
    assert repr(classifier).endswith("device=cpu, graph=model_int8.onnx>")
    assert "<td>model_int8.onnx</td>" in classifier._repr_html_()


def test_names_in_html_are_escaped(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "labels", ("<script>alert(1)</script>", "b"))
    assert "<script" not in classifier._repr_html_()
    assert "&lt;script&gt;" in classifier._repr_html_()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"language": "fr"}, ConfigError, "language: .*'fr'"),
        ({"threads": 0}, ConfigError, "threads: .*1"),
        ({"graph": "fp8"}, ConfigError, "graph: .*'fp8'"),
        ({"device": "tpu"}, ConfigError, "unknown device 'tpu'"),
        ({"device": "cuda:99"}, ProviderError, "cuda:99 cannot be used"),
    ],
)
def test_a_wrong_argument_is_refused(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Classifier.load(GOLDEN_BUNDLE, **settings)


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=str(tmp_path)):
        Classifier.load(tmp_path)


def test_the_defaults_are_those_of_the_nightly_job() -> None:
    given = inspect.signature(Classifier.load).parameters
    settings = ClassifierSettings()
    night = NightConfig(dump="in", out=Path("out"), bundle=Path("bundle"))
    for name in ClassifierSettings.model_fields:
        assert given[name].default == getattr(settings, name) == getattr(night, name), name
    assert given.keys() == {"bundle", *ClassifierSettings.model_fields}


def test_progress_is_shown_if_asked_for(classifier: Classifier, capsys: pytest.CaptureFixture[str]) -> None:
    papers = pd.DataFrame([paper(i) for i in range(3)])
    classifier.predict(papers)
    assert capsys.readouterr() == ("", "")
    classifier.predict(papers, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3" in err


def test_the_package_gives_the_class_and_nothing_else() -> None:
    assert specter_batch.Classifier is Classifier
    with pytest.raises(AttributeError, match="has no attribute 'Clasifier'"):
        specter_batch.Clasifier  # noqa: B018


CODE = """
import sys
import specter_batch
assert "onnxruntime" not in sys.modules and "narwhals" not in sys.modules
from specter_batch import Classifier
heavy = {"torch", "transformers", "optimum", "sklearn", "polars", "duckdb", "specter_jobs"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_class_is_loaded_when_it_is_used_and_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_size_of_the_parts_changes_nothing(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    papers = mixed_papers()
    usual = classifier.predict(papers)
    for rows in (3, 10_000):
        monkeypatch.setattr(labelling, "ROWS_PER_THREAD", rows)
        assert classifier.predict(papers).equals(usual)
