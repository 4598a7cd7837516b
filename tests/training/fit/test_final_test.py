import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.cli import main
from specter_batch.errors import ConfigError, LabelError
from specter_batch.training.demo.sample import SamplePaths, make_papers
from specter_batch.training.evaluation.evaluate import evaluate
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.final_test import FinalTest
from specter_batch.training.fit.trainer import train
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled
from specter_batch.training.run.folder import TrainingRun


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def papers(sample_paths: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return training and validation papers, and test papers that neither holds, except for five of the latter."""
    folder = tmp_path_factory.mktemp("test")
    whole, unseen = pq.read_table(sample_paths.train), make_papers(n_papers=150, seed=77)
    unseen = pa.concat_tables([unseen.select(whole.column_names), whole.slice(0, 5)])
    pq.write_table(unseen, folder / "test.parquet")
    pq.write_table(whole.slice(0, 200), folder / "train.parquet")
    return {"train": folder / "train.parquet", "val": sample_paths.val, "test": folder / "test.parquet"}


@pytest.fixture(scope="module")
def short(tiny_config: TrainConfig) -> TrainConfig:
    return tiny_config.model_copy(update={"epochs": 2})


@pytest.fixture(scope="module")
def read(papers: dict[str, Path]) -> dict[str, LabelledPapers]:
    return {name: read_labelled(path) for name, path in papers.items()}


@pytest.fixture(scope="module")
def tested(
    short: TrainConfig, read: dict[str, LabelledPapers], tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    out = tmp_path_factory.mktemp("tested") / "run"
    return train(short, train_papers=read["train"], val_papers=read["val"], test_papers=read["test"], out=out)


def test_the_score_is_that_of_evaluate_without_the_papers_trained_on(
    tested: TrainingRun, papers: dict[str, Path], read: dict[str, LabelledPapers]
) -> None:
    training, report = tested.record.training, evaluate(tested.path, papers["test"]).report
    found = training["test"]
    assert found["seen_in_training"] == report.seen_in_training == 5
    assert found["scored_papers"] == len(read["test"]) - 5
    assert found["macro_f1"] == pytest.approx(report.macro_f1)
    assert found["macro_f1_interval"]["low"] == pytest.approx(report.macro_f1_interval.low)
    assert found["expected_calibration_error"] == pytest.approx(report.expected_calibration_error, abs=1e-4)
    assert found["confusion"] == [list(row) for row in report.confusion]
    assert training["test_sha256"] == report.papers_sha256
    assert training["test_file"] == "test.parquet"
    assert any("the model is trained on 5 of" in note for note in training["notes"])


def test_the_page_shows_the_test(tested: TrainingRun) -> None:
    page = (tested.path / "report.html").read_text()
    assert f"<b>{tested.record.training['test']['macro_f1']:.4f}</b><span>test macro F1" in page
    assert 'id="test"' in page
    assert "Confusion on the test papers" in page
    assert "155 papers" in page


def test_the_test_changes_nothing_in_the_training(
    tested: TrainingRun, short: TrainConfig, read: dict[str, LabelledPapers], tmp_path: Path
) -> None:
    without = train(short, train_papers=read["train"], val_papers=read["val"], out=tmp_path / "run")
    assert (without.path / "model.safetensors").read_bytes() == (tested.path / "model.safetensors").read_bytes()
    same = {"temperature", "labels", "max_length"}
    assert tested.record.model_dump(include=same) == without.record.model_dump(include=same)
    left = {"test", "test_file", "test_papers", "test_sha256", "notes", "dropped", "log"}
    assert {k: v for k, v in tested.record.training.items() if k not in left} == {
        k: v for k, v in without.record.training.items() if k not in left
    }
    assert "test" not in without.record.training
    assert "test macro F1" not in (without.path / "report.html").read_text()


def test_a_run_that_is_killed_in_its_test_scores_once_when_started_again(
    tested: TrainingRun, short: TrainConfig, read: dict[str, LabelledPapers], tmp_path: Path
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    request = {"train_papers": read["train"], "val_papers": read["val"], "test_papers": read["test"]}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(FinalTest, "facts", killed)
        train(short, **request, out=tmp_path / "run")
    assert not (tmp_path / "run/run.json").exists()
    again = train(short, **request, out=tmp_path / "run")
    assert again.record.training["test"] == tested.record.training["test"]
    with pytest.raises(ConfigError, match="holds a finished run"):
        train(short, **request, out=tmp_path / "run")


def test_test_papers_that_cannot_be_scored_are_refused_before_training(
    short: TrainConfig, read: dict[str, LabelledPapers], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no test paper can be scored: the best epoch is chosen on"):
        train(short, train_papers=read["train"], val_papers=read["val"], test_papers=read["val"], out=tmp_path / "run")
    table = read["test"].papers
    unknown = table.set_column(3, "label", pa.array(["Astrology"] * table.num_rows))
    with pytest.raises(LabelError, match="Astrology"):
        train(
            short,
            train_papers=read["train"],
            val_papers=read["val"],
            test_papers=dataclasses.replace(read["test"], papers=unknown),
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_the_command_prints_the_test(
    papers: dict[str, Path], tiny_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(papers["train"]), "--val", str(papers["val"]), "--test", str(papers["test"])]
    words += ["--out", str(tmp_path / "run"), "--encoder", str(tiny_encoder), "--epochs", "1", "--json"]
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert not raised.value.code
    assert json.loads(capsys.readouterr().out)["test"]["scored_papers"] == 150
