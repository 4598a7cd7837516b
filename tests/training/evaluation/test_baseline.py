import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.svm import LinearSVC
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import ConfigError, LabelError
from specter_batch.papers.labels import LabelSet
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.embeddings.cache import EmbeddingCache
from specter_batch.training.embeddings.embed import Embedder
from specter_batch.training.evaluation.baseline import baseline, baseline_markdown
from specter_batch.training.evaluation.evaluate import evaluate
from specter_batch.training.evaluation.linear_svm import C_VALUES, MAX_STEPS, fit_linear_svm
from specter_batch.training.evaluation.report_model import BaselineReport
from specter_batch.training.evaluation.squared_hinge import fit_for_each_c
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun


@pytest.fixture(scope="module")
def embedder(tiny_encoder: Path) -> Embedder:
    return Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=96)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    return EmbeddingCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def leaky(sample_paths: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the validation papers with seven training papers among them, printed a little differently."""
    trained = pq.read_table(sample_paths.train).slice(0, 7)
    titles = pa.array([f"{title.upper()}." for title in trained["title"].to_pylist()])
    file = tmp_path_factory.mktemp("leaky") / "test.parquet"
    pq.write_table(pa.concat_tables([trained.set_column(1, "title", titles), pq.read_table(sample_paths.val)]), file)
    return file


@pytest.fixture(scope="module")
def report(
    embedder: Embedder, cache: EmbeddingCache, tiny_run: TrainingRun, sample_paths: SamplePaths, leaky: Path
) -> BaselineReport:
    return baseline(sample_paths.train, leaky, embedder=embedder, cache=cache, models=[tiny_run.path])


def test_the_svm_scores_what_scikit_learn_gives_it_on_the_unseen_papers(
    report: BaselineReport, embedder: Embedder, sample_paths: SamplePaths
) -> None:
    train, test = read_labelled(sample_paths.train), read_labelled(sample_paths.val)
    labels = LabelSet.from_values(train.papers["label"].to_pylist())
    search = GridSearchCV(LinearSVC(loss="squared_hinge"), {"C": np.logspace(-4, 2, 7)}, cv=3)
    search.fit(embedder.embed(train.texts()), train.label_ids(labels))
    true, predicted = test.label_ids(labels), search.predict(embedder.embed(test.texts()))
    svm = report.methods[0]
    assert report.c == search.best_params_["C"]
    assert svm.papers == sample_paths.n_val
    assert svm.macro_f1 == pytest.approx(f1_score(true, predicted, average="macro"))
    assert svm.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert svm.macro_f1_interval.low < svm.macro_f1 < svm.macro_f1_interval.high


def test_a_model_stands_beside_it_with_the_score_that_evaluate_gives(
    report: BaselineReport, tiny_run: TrainingRun, leaky: Path
) -> None:
    alone = evaluate(tiny_run.path, leaky).report
    model = report.methods[1]
    assert model.method == f"fine-tuned {tiny_run.path}"
    assert (model.macro_f1, model.accuracy) == pytest.approx((alone.macro_f1, alone.accuracy))
    assert model.papers == report.methods[0].papers


def test_test_papers_that_stand_in_train_are_counted_and_left_out(
    report: BaselineReport, sample_paths: SamplePaths
) -> None:
    assert (report.test_papers, report.seen_in_train) == (sample_paths.n_val + 7, 7)
    assert report.seen_by_models_alone == 0
    assert "7 are also training papers" in baseline_markdown(report)


def test_papers_that_only_a_model_was_trained_on_are_left_out_of_every_score(
    embedder: Embedder,
    cache: EmbeddingCache,
    tiny_run: TrainingRun,
    sample_paths: SamplePaths,
    leaky: Path,
    tmp_path: Path,
) -> None:
    # The SVM is fitted on 60 of the 90 validation papers: of the run's own training papers, seven are in the test.
    pq.write_table(pq.read_table(sample_paths.val).slice(0, 60), tmp_path / "train.parquet")
    alone = baseline(tmp_path / "train.parquet", leaky, embedder=embedder, cache=cache)
    assert (alone.seen_in_train, alone.methods[0].papers) == (60, 37)
    both = baseline(tmp_path / "train.parquet", leaky, embedder=embedder, cache=cache, models=[tiny_run.path])
    assert (both.seen_in_train, both.seen_by_models_alone) == (60, 7)
    assert [row.papers for row in both.methods] == [30, 30]


def test_a_test_without_an_unseen_paper_is_refused(
    embedder: Embedder, cache: EmbeddingCache, sample_paths: SamplePaths
) -> None:
    with pytest.raises(ConfigError, match=f"all {sample_paths.n_val} papers"):
        baseline(sample_paths.val, sample_paths.val, embedder=embedder, cache=cache)


def test_an_encoder_that_is_a_run_has_seen_its_training_papers(
    cache: EmbeddingCache, tiny_run: TrainingRun, sample_paths: SamplePaths, leaky: Path
) -> None:
    fine_tuned = Embedder.of_encoder(str(tiny_run.path), pooling="cls", max_length=96)
    report = baseline(
        sample_paths.val,
        sample_paths.train,
        embedder=Embedder.of_encoder(str(tiny_run.record.encoder), pooling="cls", max_length=96),
        cache=cache,
    )
    assert report.methods[0].papers == sample_paths.n_train
    with pytest.raises(ConfigError, match="give unseen papers"):
        baseline(sample_paths.val, sample_paths.train, embedder=fine_tuned, cache=cache)


def test_a_second_call_takes_both_files_from_the_cache_and_says_the_same(
    report: BaselineReport,
    embedder: Embedder,
    cache: EmbeddingCache,
    tiny_run: TrainingRun,
    sample_paths: SamplePaths,
    leaky: Path,
) -> None:
    again = baseline(
        sample_paths.train, leaky, embedder=embedder, cache=EmbeddingCache(cache.folder), models=[tiny_run.path]
    )
    assert again.embeddings_from_cache == 2
    assert again.model_dump(exclude={"embeddings_from_cache"}) == report.model_dump(exclude={"embeddings_from_cache"})


def test_a_test_that_is_the_validation_data_of_a_model_is_told(
    embedder: Embedder, cache: EmbeddingCache, tiny_run: TrainingRun, sample_paths: SamplePaths, report: BaselineReport
) -> None:
    found = baseline(sample_paths.train, sample_paths.val, embedder=embedder, cache=cache, models=[tiny_run.path])
    assert any("is the validation data of" in note for note in found.notes)
    assert not any("is the validation data of" in note for note in report.notes)


def test_a_label_that_is_not_in_train_is_refused(
    embedder: Embedder, cache: EmbeddingCache, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    table = pq.read_table(sample_paths.val).slice(0, 3)
    pq.write_table(table.set_column(3, "label", pa.array(["Astrology"] * 3)), tmp_path / "a.parquet")
    with pytest.raises(LabelError, match=r"'Astrology' in 3 papers"):
        baseline(sample_paths.train, tmp_path / "a.parquet", embedder=embedder, cache=cache)


def clouds(*papers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of as many papers per label, each label around a corner of its own, and the label ids."""
    label_ids = np.repeat(np.arange(len(papers)), papers)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(len(label_ids), 8))
    return (np.eye(8)[label_ids] + noise).astype(np.float32), label_ids


def test_a_label_with_too_few_papers_for_the_folds_is_told_and_still_learned() -> None:
    embeddings, label_ids = clouds(9, 9, 1)
    svm = fit_linear_svm(embeddings, label_ids, label_names=["a", "b", "rare"])
    assert svm.folds == 3
    assert "labels with too few papers to be in each of the 3 folds: rare (1)" in svm.notes
    assert svm.fitted.label_ids.tolist() == [0, 1, 2]
    assert (svm.fitted.predict(embeddings)[:18] == label_ids[:18]).all()


def test_two_papers_a_label_make_two_folds() -> None:
    svm = fit_linear_svm(*clouds(2, 2, 2), label_names=["a", "b", "c"])
    assert svm.folds == 2
    assert "C was searched on 2 folds instead of 3" in svm.notes[0]


@pytest.mark.parametrize("papers", [(1, 1, 1), (9, 1), (1, 1)])
def test_too_few_papers_to_cross_validate_are_refused(papers: tuple[int, ...]) -> None:
    with pytest.raises(LabelError, match="at least two labels with two papers each"):
        fit_linear_svm(*clouds(*papers), label_names=[str(i) for i in range(len(papers))])


@given(
    seed=st.integers(0, 1_000),
    papers=st.lists(st.integers(2, 40), min_size=2, max_size=5),
    width=st.integers(1, 60),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    c=st.sampled_from(C_VALUES),
)
@settings(max_examples=40, deadline=None)
def test_newton_reaches_the_minimum_from_any_start(
    seed: int, papers: list[int], width: int, scale: float, c: float
) -> None:
    generator = np.random.default_rng(seed)
    label_ids = np.repeat(np.arange(len(papers)), papers)
    embeddings = (scale * (generator.normal(size=(len(label_ids), width)) + 1)).astype(np.float32)
    (alone,) = fit_for_each_c(embeddings, label_ids, [c], max_steps=MAX_STEPS)
    along = fit_for_each_c(embeddings, label_ids, C_VALUES, max_steps=MAX_STEPS)[C_VALUES.index(c)]
    assert alone.unconverged == along.unconverged == 0
    features = np.hstack([embeddings, np.ones((len(embeddings), 1))]).astype(np.float64)
    for row, label_id in enumerate(alone.label_ids):
        signs = np.where(label_ids == label_id, 1.0, -1.0)
        values = []
        for weights in (alone.weights[row], along.weights[row]):
            slack = np.maximum(0, 1 - signs * (features @ weights))
            values.append(weights @ weights / 2 + c * slack @ slack)
        # Newton's decrement: how far the value is above the minimum of its second-order model.
        gradient = weights - 2 * c * (signs * slack) @ features
        in_loss = features[slack > 0]
        curvature = np.eye(features.shape[1]) + 2 * c * in_loss.T @ in_loss
        assert gradient @ np.linalg.solve(curvature, gradient) / 2 <= 1e-4 * values[1]
        assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_each_c_has_the_weights_that_scikit_learn_finds() -> None:
    embeddings, label_ids = clouds(40, 25, 10)
    found = fit_for_each_c(embeddings, label_ids, C_VALUES, max_steps=MAX_STEPS)
    for c, svm in zip(C_VALUES, found, strict=True):
        theirs = LinearSVC(C=c, dual=False, tol=1e-8, max_iter=10_000).fit(embeddings, label_ids)
        expected = np.hstack([theirs.coef_, theirs.intercept_[:, None]])
        assert svm.weights == pytest.approx(expected, abs=1e-4)


def test_an_svm_that_did_not_converge_is_told() -> None:
    noise = 10 * np.random.default_rng(0).normal(size=(60, 80)).astype(np.float32)
    svm = fit_linear_svm(noise, np.repeat([0, 1], 30), label_names=["a", "b"], max_steps=1)
    (note,) = (note for note in svm.notes if "had not converged" in note)
    assert re.fullmatch(r"\d+ of 44 fits of the SVM .* after 1 Newton steps, \d of them in the scored SVM", note)
    assert not any("converged" in note for note in fit_linear_svm(*clouds(9, 9), label_names=["a", "b"]).notes)


def test_embeddings_that_are_not_finite_are_refused() -> None:
    embeddings, label_ids = clouds(9, 9)
    embeddings[3, 2] = np.nan
    with pytest.raises(ConfigError, match="NaN or infinite"):
        fit_linear_svm(embeddings, label_ids, label_names=["a", "b"])


def test_the_end_of_the_range_of_c_is_told() -> None:
    svm = fit_linear_svm(*clouds(30, 30), label_names=["a", "b"])
    told = any("is the end of SciDocs' range" in note for note in svm.notes)
    assert told == (svm.c in (1e-4, 1e2))


def test_the_command_prints_the_table_and_writes_it(
    tiny_encoder: Path,
    tiny_run: TrainingRun,
    sample_paths: SamplePaths,
    leaky: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["baseline", str(sample_paths.train), str(leaky), "--encoder", str(tiny_encoder), "--pooling", "mean"]
    command += ["--max-length", "96", "--model", str(tiny_run.path), "--out", str(tmp_path / "out")]
    words = CliRunner().invoke(build_app(), command, catch_exceptions=False).stdout
    found = json.loads(CliRunner().invoke(build_app(), [*command, "--json"], catch_exceptions=False).stdout)
    assert [row["method"].split()[0] for row in found["methods"]] == ["frozen", "fine-tuned"]
    assert all(f"{row['macro_f1']:.4f}" in words for row in found["methods"])
    assert json.loads((tmp_path / "out" / "baseline.json").read_text()) == found
    assert words.strip() in (tmp_path / "out" / "baseline.md").read_text()
    assert len(list((tmp_path / "cache" / "specter-batch" / "embeddings").iterdir())) == 2
