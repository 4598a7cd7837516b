import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.evaluation.evaluate import TorchClassifier, score
from specter_batch.training.fit.run_report import write_run_report
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import RUN_FILE, TrainingRun
from support.drawings import assert_asks_for_nothing, assert_readable_in_dark_and_light, text_of

EVIL = "<script>alert('x')</script>"
LOG = [
    {"loss": 2.0, "grad_norm": 3.0, "learning_rate": 1e-5, "epoch": 0.5, "step": 50},
    {"loss": 1.0, "grad_norm": 3.0, "learning_rate": 2e-5, "epoch": 1.0, "step": 100},
    {"eval_loss": 1.5, "eval_macro_f1": 0.7, "eval_accuracy": 0.8, "epoch": 1.0, "step": 100},
    {"train_runtime": 60.0, "train_loss": 1.2, "epoch": 1.0, "step": 100},
]
Copy = Callable[..., Path]


@pytest.fixture
def copy_of(tiny_run: TrainingRun, tmp_path: Path) -> Copy:
    """Return a function that copies the run with other values in its record."""

    def make(*, training: dict[str, Any], without: tuple[str, ...] = (), **record: Any) -> Path:
        folder = tmp_path / "the run"
        shutil.copytree(tiny_run.path, folder, ignore=shutil.ignore_patterns("report.html", "*.svg"))
        found = tiny_run.record.model_dump(mode="json") | record
        found["training"] = {name: value for name, value in found["training"].items() if name not in without} | training
        (folder / RUN_FILE).write_text(json.dumps(found))
        return folder

    return make


@pytest.fixture(scope="module")
def validation(tiny_run: TrainingRun, sample_paths: SamplePaths) -> dict[str, Any]:
    return score(TorchClassifier(tiny_run), read_labelled(sample_paths.val), tiny_run).model_dump(mode="json")


def page_of(folder: Path) -> str:
    write_run_report(folder, TrainingRun.open(folder).record)
    page = (folder / "report.html").read_text()
    assert_asks_for_nothing(page)
    assert_readable_in_dark_and_light(page)
    return page


def test_a_run_with_log_and_scores_shows_them_all(copy_of: Copy, validation: dict[str, Any]) -> None:
    page = page_of(copy_of(training={"log": LOG, "validation": validation}))
    pictures = ("Training curves", "Confusion matrix", "Reliability diagram", "Risk-coverage curve")
    assert [name for name in pictures if f'aria-label="{name}"' not in page] == []
    text = text_of(page)
    assert "Training run the run" in text
    assert f"{validation['macro_f1']:.4f} validation macro F1, 95 % interval" in text
    assert all(f"{row['label']} {row['f1']:.4f}" in text for row in validation["per_label"])


def test_settings_papers_and_versions_are_told(copy_of: Copy, tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    text = text_of(page_of(copy_of(training={"dropped": {"train": {"missing_title": 3}, "validation": {}}})))
    assert "learning_rate 0.005" in text
    assert "head.dropout 0.1" in text
    assert f"{sample_paths.n_train} papers; 3 missing_title left out" in text
    assert f"torch {tiny_run.record.training['versions']['torch']}" in text


def test_the_curves_are_a_picture_of_their_own_too(copy_of: Copy) -> None:
    folder = copy_of(training={"log": LOG})
    write_run_report(folder, TrainingRun.open(folder).record)
    drawn = (folder / "training_curves.svg").read_text()
    svg = ElementTree.fromstring(drawn)  # noqa: S314 - of our own making
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    words = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert [word for word in words if word in ("Loss", "Learning rate", "Validation scores")] == [
        "Loss",
        "Learning rate",
        "Validation scores",
    ]
    assert_readable_in_dark_and_light(drawn)


def test_a_run_of_an_earlier_version_shows_what_it_has(copy_of: Copy) -> None:
    three = {"macro_f1": 0.6945, "accuracy": 0.7135, "expected_calibration_error": 0.0317}
    history = [entry for entry in LOG if "eval_loss" in entry]
    page = page_of(copy_of(training={"validation": three, "history": history}, without=("log",)))
    text = text_of(page)
    assert "0.6945 validation macro F1 0.7135 validation accuracy 0.0317 calibration error" in text
    assert "There are no scores by label: this run did not save them." in text
    assert 'aria-label="Training curves"' in page


def test_a_run_that_recorded_nothing_has_a_page(copy_of: Copy, tiny_run: TrainingRun) -> None:
    folder = copy_of(training={}, without=tuple(tiny_run.record.training))
    text = text_of(page_of(folder))
    assert "or has no log." in text
    assert "This run did not save its settings." in text
    assert not (folder / "training_curves.svg").exists()


def test_validation_papers_that_were_trained_on_are_told(copy_of: Copy, validation: dict[str, Any]) -> None:
    text = text_of(page_of(copy_of(training={"validation": validation | {"seen_in_training": 1234}})))
    assert "1,234 validation papers are also training papers and are left out." in text


def test_a_run_validated_on_its_training_papers_alone_has_no_scores(copy_of: Copy, validation: dict[str, Any]) -> None:
    nothing = {"scored_papers": 0, "macro_f1": None, "macro_f1_interval": None, "accuracy": None, "risk_coverage": None}
    page = page_of(copy_of(training={"validation": validation | nothing}))
    assert "every validation paper is also a training paper" in text_of(page)
    assert "Confusion matrix" not in page


def test_names_from_the_record_are_shown_as_text(copy_of: Copy) -> None:
    page = page_of(copy_of(training={"settings": {EVIL: EVIL}}, encoder=EVIL))
    assert "<script" not in page
    assert text_of(page).count(EVIL) >= 3


def test_notes_of_the_training_are_shown_as_text(copy_of: Copy) -> None:
    page = page_of(copy_of(training={"notes": ["all validation papers are in TRAIN <b>"]}))
    assert "all validation papers are in TRAIN &lt;b&gt;" in page
