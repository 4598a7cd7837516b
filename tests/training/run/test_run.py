import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from specter_batch.errors import BundleError
from specter_batch.metrics.score_report import N_SCORE_BINS
from specter_batch.model.manifest import REFERENCE_FILE, SEEN_TEXTS_FILE, TOKENIZER_FILE
from specter_batch.papers.parquet import read_table
from specter_batch.papers.text import paper_text, text_hash
from specter_batch.storage.files import file_sha256
from specter_batch.training.demo.sample import SamplePaths, make_papers
from specter_batch.training.fit.run_writer import write_validation
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled
from specter_batch.training.run.folder import (
    CALIBRATION_FILE,
    KEPT_VALIDATION,
    RUN_FILE,
    VALIDATION_FILE,
    TrainingRun,
)


@pytest.fixture
def copied(tiny_run: TrainingRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run.path, tmp_path / "run"))


def test_a_finished_run_opens_by_its_path(tiny_run: TrainingRun) -> None:
    assert TrainingRun.open(str(tiny_run.path)) == tiny_run


def test_a_moved_run_opens_as_well(copied: Path, tiny_run: TrainingRun) -> None:
    assert TrainingRun.open(copied).record == tiny_run.record


def test_others_can_read_every_file_that_the_umask_lets_them_read(tiny_run: TrainingRun) -> None:
    usual = (tiny_run.path / RUN_FILE).stat().st_mode
    assert {path.name for path in tiny_run.path.iterdir() if path.is_file() and path.stat().st_mode != usual} == set()


def test_a_folder_without_a_record_is_no_finished_run(copied: Path) -> None:
    (copied / RUN_FILE).unlink()
    with pytest.raises(BundleError, match=r"not a finished training run, run\.json is missing"):
        TrainingRun.open(copied)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        TOKENIZER_FILE,
        REFERENCE_FILE,
        SEEN_TEXTS_FILE,
        CALIBRATION_FILE,
    ],
)
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: a file of the training run is missing"):
        TrainingRun.open(copied)


@pytest.mark.parametrize("content", ["{", "{}", '{"labels": 3}'])
def test_a_record_that_cannot_be_read_is_a_bundle_error(copied: Path, content: str) -> None:
    (copied / RUN_FILE).write_text(content)
    with pytest.raises(BundleError, match="train again"):
        TrainingRun.open(copied)


def test_the_checkpoint_and_the_record_have_the_same_labels(tiny_run: TrainingRun) -> None:
    names = json.loads((tiny_run.path / "config.json").read_text())["id2label"]
    assert tuple(names[str(i)] for i in range(len(names))) == tiny_run.record.labels


def test_the_run_keeps_the_hashes_of_its_training_texts(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    assert np.array_equal(tiny_run.seen_texts(), read_labelled(sample_paths.train).seen_hashes())


def test_calibration_papers_are_training_papers(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    kept = tiny_run.calibration_papers()
    trained = {row["paper_id"]: row for row in read_labelled(sample_paths.train).papers.to_pylist()}
    assert kept.num_rows == 200
    assert all(trained[row["paper_id"]] == row for row in kept.to_pylist())
    assert len(set(kept["paper_id"].to_pylist())) == kept.num_rows


def test_the_run_keeps_validation_papers_which_the_model_was_not_trained_on(
    tiny_run: TrainingRun, sample_paths: SamplePaths
) -> None:
    kept = tiny_run.validation_papers()
    assert kept is not None
    assert kept.to_pylist() == read_labelled(sample_paths.val).papers.to_pylist()
    assert tiny_run.record.training[KEPT_VALIDATION]["papers"] == sample_paths.n_val


def test_of_many_validation_papers_those_with_the_smallest_hashes_are_kept(tmp_path: Path) -> None:
    papers = make_papers(n_papers=60, seed=5)
    labelled = LabelledPapers(papers=papers, dropped={}, source="val.parquet")
    kept = write_validation(tmp_path, labelled, most=20)
    by_hash = sorted(papers.to_pylist(), key=lambda row: text_hash(paper_text(row["title"], row["abstract"])))
    expected = {row["paper_id"] for row in by_hash[:20]}
    assert set(read_table(tmp_path / VALIDATION_FILE)["paper_id"].to_pylist()) == expected
    assert kept == {"papers": 20, "sha256": file_sha256(tmp_path / VALIDATION_FILE)}


def test_the_drift_reference_holds_shares(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    reference = json.loads((tiny_run.path / REFERENCE_FILE).read_text())
    assert reference["papers"] == sample_paths.n_val
    assert tuple(reference["label_shares"]) == tiny_run.record.labels
    assert sum(reference["label_shares"].values()) == pytest.approx(1)
    assert len(reference["score_histogram"]) == N_SCORE_BINS
    assert sum(reference["score_histogram"]) == pytest.approx(1)
    assert 0 < reference["mean_score"] <= 1


def test_texts_are_cut_at_the_length_the_encoder_takes(tiny_run: TrainingRun) -> None:
    # 512 was asked for, and the encoder has 128 positions.
    assert tiny_run.record.max_length == 128
    assert len(tiny_run.text_encoder().encode(["renal outcome " * 500])[0]) == 128


def test_the_run_folder_holds_no_pickle(tiny_run: TrainingRun) -> None:
    assert not [file.name for file in tiny_run.path.rglob("*") if file.suffix in (".bin", ".pt", ".pth", ".pkl")]
