import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback

from specter_batch.cli import main
from specter_batch.errors import ConfigError
from specter_batch.model.session import Logits
from specter_batch.options.screening import ScreeningRules
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.distillation.comparison import StudentComparison, comparison_in
from specter_batch.training.distillation.loss import DistillationLoss, TaughtLabels
from specter_batch.training.distillation.student import make_student
from specter_batch.training.distillation.teaching import ComparedPapers, Teaching
from specter_batch.training.embeddings.cache import VectorCache
from specter_batch.training.embeddings.embed import embed
from specter_batch.training.evaluation.evaluate import TorchClassifier
from specter_batch.training.fit.arguments import CHECKPOINTS
from specter_batch.training.fit.config import DistillConfig
from specter_batch.training.fit.trainer import train
from specter_batch.training.fit.warm_start import head_logits
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled
from specter_batch.training.papers.unlabelled import UnlabelledPapers, read_unlabelled
from specter_batch.training.run.folder import RUN_FILE, TrainingRun
from specter_batch.training.run.lineage import DISTILLED_FROM, STARTED_FROM, validation_sha256s

SETTINGS = DistillConfig(layers=1, epochs=2, learning_rate=3e-3, head_learning_rate=1e-3, compute="fp32")


@pytest.fixture(scope="module")
def labelled(sample_paths: SamplePaths) -> dict[str, LabelledPapers]:
    train_papers, val_papers = read_labelled(sample_paths.train), read_labelled(sample_paths.val)
    few = dataclasses.replace(train_papers, papers=train_papers.papers.slice(0, 160))
    return {"train_papers": few, "val_papers": val_papers}


@pytest.fixture(scope="module")
def unlabelled(sample_paths: SamplePaths, labelled: dict[str, LabelledPapers]) -> UnlabelledPapers:
    known = {name: papers.seen_hashes() for name, papers in labelled.items()}
    return read_unlabelled(sample_paths.night, rules=ScreeningRules(), known=known, limit=120)


@pytest.fixture(scope="module")
def teaching(tiny_run: TrainingRun, unlabelled: UnlabelledPapers) -> Teaching:
    return Teaching(tiny_run, SETTINGS, unlabelled)


def distil(teaching: Teaching, labelled: dict[str, LabelledPapers], out: Path) -> TrainingRun:
    config = SETTINGS.of_student(teaching.teacher.record)
    return train(config, **labelled, teaching=teaching, out=out)


@pytest.fixture(scope="module")
def student(
    teaching: Teaching, labelled: dict[str, LabelledPapers], tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    return distil(teaching, labelled, tmp_path_factory.mktemp("student") / "run")


def test_the_students_logits_move_towards_the_teachers(
    student: TrainingRun, tiny_run: TrainingRun, labelled: dict[str, LabelledPapers]
) -> None:
    token_ids = tiny_run.text_encoder().encode(labelled["val_papers"].texts(tiny_run.text_template))
    untrained = make_student(tiny_run, [2], attention_dropout=0.0).model.eval()
    before = head_logits(untrained.head, embed(untrained, token_ids, max_tokens=4096))
    teacher, after = TorchClassifier(tiny_run).logits(token_ids), TorchClassifier(student).logits(token_ids)

    def distance(logits: Logits) -> float:
        taught = TaughtLabels(
            label_ids=torch.zeros(len(logits), dtype=torch.int64), teacher_logits=torch.from_numpy(teacher)
        )
        outputs: Any = {"logits": torch.from_numpy(logits)}
        return float(DistillationLoss.of(SETTINGS)(outputs, taught))

    assert distance(after) < 0.7 * distance(before)  # about half; it differs between machines
    assert (after.argmax(axis=1) == teacher.argmax(axis=1)).mean() > 0.9


def test_a_student_is_a_run_that_knows_all_papers_of_teacher_and_student(
    student: TrainingRun, tiny_run: TrainingRun, unlabelled: UnlabelledPapers
) -> None:
    assert student.labels == tiny_run.labels
    assert student.record.encoder == tiny_run.record.encoder
    assert json.loads((student.path / "config.json").read_text())["num_hidden_layers"] == 1
    expected = np.union1d(tiny_run.seen_texts(), unlabelled.hashes)
    assert student.seen_texts().tolist() == expected.tolist()
    training = student.record.training
    found = training[DISTILLED_FROM]
    assert (found["layers"], found["of_layers"]) == ([2], 2)
    assert found["unlabelled_papers"] == len(unlabelled) == 120
    assert training[STARTED_FROM]["run"] == found["run"] == str(tiny_run.path)
    assert tiny_run.record.training["validation_sha256"] in validation_sha256s(training)


def test_the_run_and_its_page_compare_the_student_with_its_teacher(
    student: TrainingRun, tiny_run: TrainingRun, labelled: dict[str, LabelledPapers]
) -> None:
    compared = comparison_in(student.record.training)
    assert compared is not None
    validation = student.record.training["validation"]
    assert compared.compared.papers == validation["scored_papers"]
    assert compared.compared.macro_f1.b == pytest.approx(validation["macro_f1"])
    assert compared.compared.macro_f1.a == pytest.approx(tiny_run.record.training["validation"]["macro_f1"])
    assert compared.calibration_errors[1] == pytest.approx(validation["expected_calibration_error"])
    assert compared.compared.agreement > 0.9
    assert min(compared.papers_per_second) > 0
    page = (student.path / "report.html").read_text()
    assert f"This model is a student of <code>{tiny_run.path}</code>." in page
    assert f"{compared.compared.macro_f1.difference:+.4f}" in page
    assert comparison_in(tiny_run.record.training) is None
    assert "Compared with the teacher" not in (tiny_run.path / "report.html").read_text()


def test_papers_that_were_trained_on_or_have_an_unknown_label_are_not_compared(
    teaching: Teaching, labelled: dict[str, LabelledPapers], tmp_path: Path
) -> None:
    papers = labelled["val_papers"].papers.slice(0, 20)
    labels = ["no such label", *papers["label"].to_pylist()[1:]]
    test = dataclasses.replace(labelled["val_papers"], papers=papers.set_column(3, "label", pa.array(labels)))
    token_ids = teaching.teacher.text_encoder().encode(test.texts(teaching.teacher.text_template))
    student, cache = make_student(teaching.teacher, [1], attention_dropout=0.0).model.eval(), VectorCache(tmp_path)
    logits = head_logits(student.head, embed(student, token_ids, max_tokens=4096))

    def compared(unseen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> StudentComparison | None:
        scored = ComparedPapers("test", test, token_ids, logits, unseen)
        return teaching.compared(student, scored, temperature=1.0, cache=cache)

    found = compared(np.arange(20) < 15)
    assert found is not None
    assert (found.papers, found.compared.papers) == ("test", 14)
    assert "on 14 test papers the student has" in found.f1_sentence()
    assert compared(np.zeros(20, dtype=np.bool_)) is None


def test_a_killed_student_resumes_to_the_same_bytes_and_asks_the_teacher_once(
    student: TrainingRun, teaching: Teaching, labelled: dict[str, LabelledPapers], tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def on_save(*_: object, **__: object) -> None:
        raise Killed

    asked: list[int] = []

    def counted(computed: Callable[..., Logits]) -> Callable[..., Logits]:
        def count(self: Teaching, token_ids: Any, **settings: Any) -> Logits:
            asked.append(len(token_ids))
            return computed(self, token_ids, **settings)

        return count

    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Teaching, "_computed", counted(Teaching._computed))
        with pytest.MonkeyPatch.context() as kill, pytest.raises(Killed):
            kill.setattr(EarlyStoppingCallback, "on_save", on_save)
            distil(teaching, labelled, out)
        assert not (out / RUN_FILE).exists()
        run = distil(teaching, labelled, out)
    assert asked[0] == 280
    assert len([papers for papers in asked if papers == 280]) == 1
    weights, others = (load_file(each.path / "model.safetensors") for each in (run, student))
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    assert not (out / CHECKPOINTS).exists()


def test_an_unfinished_student_of_another_teacher_or_other_papers_is_not_resumed(
    tiny_run: TrainingRun, teaching: Teaching, labelled: dict[str, LabelledPapers], tmp_path: Path
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise RuntimeError("stopped")

    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="stopped"):
        patch.setattr(Teaching, "taught", stop)
        distil(teaching, labelled, out)
    other = tmp_path / "teacher"
    shutil.copytree(tiny_run.path, other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    changed = [Teaching(TrainingRun.open(other), SETTINGS, teaching.unlabelled), Teaching(tiny_run, SETTINGS)]
    for each in changed:
        with pytest.raises(ConfigError, match="holds an unfinished run with other settings or papers"):
            distil(each, labelled, out)


@pytest.mark.parametrize(
    ("run", "options", "code", "told"),
    [
        ("run", ["--layers", "3"], 1, "--layers 3: the teacher has 2 layers; give a number from 1 to 2"),
        ("run", [], 2, "layers is missing; give --layers"),
        ("bundle", ["--layers", "1"], 1, "is a bundle, not a training run"),
        ("run", ["--layers", "1", "--papers", "{train}"], 1, "leave the option out"),
        ("run", ["--layers", "1", "--max-papers", "5"], 2, "--max-papers says which of --papers to use"),
        ("run", ["--layers", "1", "--papers", "nowhere"], 1, "nowhere"),
    ],
)
def test_what_cannot_be_distilled_is_refused_in_plain_words(
    tiny_run: TrainingRun,
    tiny_bundle: Path,
    sample_paths: SamplePaths,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run: str,
    options: list[str],
    code: int,
    told: str,
) -> None:
    teacher = {"run": tiny_run.path, "bundle": tiny_bundle}[run]
    given = [option.format(train=sample_paths.train) for option in options]
    papers = ["--train", str(sample_paths.train), "--val", str(sample_paths.val)]
    out = tmp_path / "student"
    with pytest.raises(SystemExit) as ended:
        main(["distill", str(teacher), *papers, *given, "--out", str(out)])
    assert ended.value.code == code
    assert told in capsys.readouterr().err
    assert not out.exists()
