from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score

from specter_batch.errors import BundleError, ConfigError, LabelError, LeakError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.evaluation.evaluate import TorchClassifier, evaluate, score
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun


@pytest.fixture(scope="module")
def leaky(sample_paths: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the validation papers with seven training papers among them, printed a little differently."""
    trained = pq.read_table(sample_paths.train).slice(0, 7)
    titles = pa.array([f"{title.upper()}." for title in trained["title"].to_pylist()])
    file = tmp_path_factory.mktemp("leaky") / "test.parquet"
    pq.write_table(pa.concat_tables([pq.read_table(sample_paths.val), trained.set_column(1, "title", titles)]), file)
    return file


def test_papers_of_the_training_data_are_counted_and_left_out(
    tiny_run: TrainingRun, sample_paths: SamplePaths, leaky: Path
) -> None:
    clean, mixed = evaluate(tiny_run.path, sample_paths.val).report, evaluate(tiny_run.path, leaky).report
    assert (clean.seen_in_training, mixed.seen_in_training) == (0, 7)
    assert mixed.scored_papers == clean.scored_papers == sample_paths.n_val
    assert mixed.macro_f1 == clean.macro_f1
    assert mixed.confusion == clean.confusion


def test_training_papers_alone_give_no_score(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    report = evaluate(tiny_run.path, sample_paths.train).report
    assert report.macro_f1 is None
    assert report.seen_in_training == sample_paths.n_train
    assert report.macro_f1_with_seen > 0.5


def test_the_scores_are_those_of_scikit_learn(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    report = evaluate(tiny_run.path, sample_paths.val).report
    papers = read_labelled(sample_paths.val)
    logits = TorchClassifier(tiny_run).logits(tiny_run.text_encoder().encode(papers.texts()))
    true, predicted = papers.label_ids(tiny_run.labels), logits.argmax(axis=1)
    assert report.accuracy == pytest.approx(accuracy_score(true, predicted))
    for average in ("macro", "micro", "weighted"):
        assert getattr(report, f"{average}_f1") == pytest.approx(f1_score(true, predicted, average=average)), average
    assert [row.f1 for row in report.per_label] == pytest.approx(f1_score(true, predicted, average=None).tolist())


def test_the_score_is_the_one_that_training_reported(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    report = evaluate(tiny_run.path, sample_paths.val).report
    found = tiny_run.record.training["validation"]
    assert report.macro_f1 == pytest.approx(found["macro_f1"])
    assert report.expected_calibration_error == pytest.approx(found["expected_calibration_error"], abs=1e-4)


def test_a_run_and_its_fp32_graph_give_the_same_labels(
    tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths
) -> None:
    papers, bundle = read_labelled(sample_paths.val), ModelBundle.open(tiny_bundle)
    graph = OnnxClassifier(bundle, device=Device(kind="cpu"), precision="fp32")
    expected, found = (
        score(TorchClassifier(tiny_run), papers, tiny_run),
        score(graph, papers, bundle),
    )
    graph.close()
    assert found.confusion == expected.confusion
    assert found.macro_f1 == expected.macro_f1


def test_a_run_and_its_bundle_score_alike(tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths) -> None:
    run, bundle = (evaluate(model, sample_paths.val, device="cpu").report for model in (tiny_run.path, tiny_bundle))
    assert bundle.graph == "model_int8.onnx"
    assert run.provider == "torch"
    moved = np.abs(np.array(run.confusion) - np.array(bundle.confusion)).sum() / 2
    assert moved <= 0.02 * sample_paths.n_val
    graph = evaluate(tiny_bundle, sample_paths.val, device="cpu", graph="fp32").report
    assert graph.temperature == run.temperature
    assert graph.expected_calibration_error == pytest.approx(run.expected_calibration_error, abs=1e-4)
    assert graph.uncalibrated.expected_calibration_error == pytest.approx(
        run.uncalibrated.expected_calibration_error, abs=1e-4
    )


def test_torch_gives_each_paper_its_own_logits_in_input_order(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    token_ids = tiny_run.text_encoder().encode([*read_labelled(sample_paths.val).texts()[:20], "Sepsis[SEP]"])
    classifier = TorchClassifier(tiny_run)
    alone = np.concatenate([classifier.logits([ids]) for ids in token_ids])
    np.testing.assert_allclose(classifier.logits(token_ids), alone, rtol=0, atol=1e-4)


def test_a_folder_that_is_neither_run_nor_bundle_is_refused(sample_paths: SamplePaths, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a finished training run"):
        evaluate(tmp_path, sample_paths.val)


def test_labels_that_the_model_does_not_know_are_refused(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    table = pq.read_table(sample_paths.val).slice(0, 3)
    pq.write_table(table.set_column(3, "label", pa.array(["Astrology"] * 3)), tmp_path / "a.parquet")
    with pytest.raises(LabelError, match=r"'Astrology' in 3 papers"):
        evaluate(tiny_run.path, tmp_path / "a.parquet")


def test_papers_with_an_unknown_label_are_counted_and_not_scored(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    table = pq.read_table(sample_paths.val)
    names = table["label"].to_pylist()
    misspelled = f"{names[0]}s"
    mixed = ["Astrology"] * 3 + [misspelled, f"\u200b{names[4]}\u00a0", *names[5:]]
    pq.write_table(table.set_column(3, "label", pa.array(mixed)), tmp_path / "mixed.parquet")
    pq.write_table(table.slice(4), tmp_path / "known.parquet")
    found, expected = (evaluate(tiny_run.path, tmp_path / f"{name}.parquet") for name in ("mixed", "known"))
    assert found.report.unknown_labels == 4
    assert found.report.unknown_label_papers == {
        "'Astrology'": 3,
        f"{misspelled!r} (did you mean {names[0]!r}?)": 1,
    }
    for name in ("macro_f1", "confusion", "macro_f1_interval", "scored_papers"):
        assert getattr(found.report, name) == getattr(expected.report, name), name
    assert found.predictions["label"].to_pylist() == ["Astrology"] * 3 + [misspelled, *names[4:]]
    assert found.predictions["predicted"].to_pylist()[4:] == expected.predictions["predicted"].to_pylist()


def test_a_test_that_holds_training_papers_is_refused_with_their_number(
    tiny_run: TrainingRun, sample_paths: SamplePaths, leaky: Path
) -> None:
    evaluate(tiny_run.path, sample_paths.val).refuse_leaks()
    with pytest.raises(LeakError, match=rf"test\.parquet: .* got 7 of {sample_paths.n_val + 7}"):
        evaluate(tiny_run.path, leaky).refuse_leaks()


def test_every_paper_has_its_row_of_predictions_in_file_order(
    tiny_run: TrainingRun, sample_paths: SamplePaths, leaky: Path
) -> None:
    evaluation = evaluate(tiny_run.path, leaky)
    found, papers = evaluation.predictions, read_labelled(leaky).papers
    assert found.column_names == ["paper_id", "label", "predicted", "score", "seen", "runner_up", "margin"]
    assert found["paper_id"].to_pylist() == papers["paper_id"].to_pylist()
    assert found["label"].to_pylist() == papers["label"].to_pylist()
    assert found["seen"].to_pylist() == [False] * sample_paths.n_val + [True] * 7
    unseen = found.filter(pc.invert(found["seen"]))
    right = pc.equal(unseen["label"], unseen["predicted"]).to_numpy()
    assert right.mean() == evaluation.report.accuracy


def test_labels_given_as_ids_are_told_by_name(tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path) -> None:
    table = pq.read_table(sample_paths.val).slice(0, 3)
    ids = [str(tiny_run.labels.id_of(name)) for name in table["label"].to_pylist()]
    pq.write_table(table.set_column(3, "label", pa.array(ids)), tmp_path / "ids.parquet")
    assert evaluate(tiny_run.path, tmp_path / "ids.parquet").predictions["label"] == table["label"]


def test_the_papers_that_the_best_epoch_was_chosen_on_are_known_again(
    tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths, leaky: Path
) -> None:
    for model in (tiny_run.path, tiny_bundle):
        assert evaluate(model, sample_paths.val, device="cpu").report.is_validation_data is True
    assert evaluate(tiny_run.path, leaky).report.is_validation_data is False


def test_a_bundle_is_told_by_its_fingerprint(tiny_bundle: Path, sample_paths: SamplePaths) -> None:
    report = evaluate(tiny_bundle, sample_paths.val, device="cpu").report
    assert report.fingerprint == ModelBundle.open(tiny_bundle).fingerprint
    assert report.papers_sha256 == read_labelled(sample_paths.val).content_sha256()


def test_a_graph_of_a_bundle_can_be_chosen(tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths) -> None:
    fp32 = evaluate(tiny_bundle, sample_paths.val, device="cpu", graph="fp32").report
    assert fp32.graph == "model.onnx"
    with pytest.raises(ConfigError, match="is a run and has no graphs; give the bundle that was exported from it"):
        evaluate(tiny_run.path, sample_paths.val, graph="fp32")
