import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score
from typer.testing import CliRunner

from specter_batch.cli import build_app, main
from specter_batch.errors import ConfigError, GateError, LabelError
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.evaluation.comparison import ComparedModels, compare_models
from specter_batch.training.evaluation.comparison_report import comparison_html, comparison_markdown
from specter_batch.training.evaluation.evaluate import evaluate
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.trainer import train
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun


@pytest.fixture(scope="module")
def weaker_run(
    tiny_config: TrainConfig, sample_paths: SamplePaths, tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    """Return a run that learned from a few papers only, ten of which are validation papers of the other run."""
    few = pq.read_table(sample_paths.train).slice(0, 60)
    folder = tmp_path_factory.mktemp("weaker")
    pq.write_table(pa.concat_tables([few, pq.read_table(sample_paths.val).slice(0, 10)]), folder / "train.parquet")
    return train(
        tiny_config.model_copy(update={"epochs": 1}),
        train_papers=read_labelled(folder / "train.parquet"),
        val_papers=read_labelled(sample_paths.val),
        out=folder / "run",
        allow_overlap=True,
    )


@pytest.fixture(scope="module")
def comparison(tiny_run: TrainingRun, weaker_run: TrainingRun, sample_paths: SamplePaths) -> ComparedModels:
    return compare_models(tiny_run.path, weaker_run.path, sample_paths.val, max_f1_loss=0.01)


def test_the_scores_are_those_of_both_models_on_the_papers_that_neither_was_trained_on(
    comparison: ComparedModels, tiny_run: TrainingRun, weaker_run: TrainingRun, sample_paths: SamplePaths
) -> None:
    tables = [evaluate(run.path, sample_paths.val).predictions for run in (tiny_run, weaker_run)]
    rows = ~(tables[0]["seen"].to_numpy() | tables[1]["seen"].to_numpy())
    true = np.array(tables[0]["label"].to_pylist())[rows]
    predicted = [np.array(table["predicted"].to_pylist())[rows] for table in tables]
    found = comparison.report.compared
    assert found.papers == sample_paths.n_val - 10
    assert comparison.report.seen_in_training == comparison.report.b.seen_in_training == 10
    assert comparison.report.a.seen_in_training == 0
    assert [found.macro_f1.a, found.macro_f1.b] == pytest.approx(
        [f1_score(true, x, average="macro") for x in predicted]
    )
    assert [found.accuracy.a, found.accuracy.b] == pytest.approx([accuracy_score(true, x) for x in predicted])
    assert found.agreement == pytest.approx(accuracy_score(*predicted))
    assert comparison.report.changed_papers == int((predicted[0] != predicted[1]).sum())
    assert comparison.predictions["compared"].to_numpy().sum() == found.papers


def test_a_model_that_learned_less_is_worse(comparison: ComparedModels) -> None:
    report = comparison.report
    assert report.compared.macro_f1.interval.high < 0
    assert report.compared.mcnemar.p_value < 0.05
    assert report.non_inferiority is not None
    assert report.non_inferiority.verdict == "worse"
    assert sum(change.a_right for change in report.changes) > sum(change.b_right for change in report.changes)


def test_pages_show_the_figures_and_escape_names(comparison: ComparedModels) -> None:
    strange = comparison.report.model_copy(
        update={"a": comparison.report.a.model_copy(update={"model": "<script>alert(1)</script>"})}
    )
    page = comparison_html(strange)
    assert "<script>" not in page
    text = comparison_markdown(comparison.report)
    for shown in (page, text):
        assert f"{comparison.report.compared.macro_f1.difference:+.4f}" in shown
        assert "B loses more than 0.01 of macro F1" in shown
        assert "10 that a model was trained on" in shown


def test_models_with_other_labels_are_refused_with_the_names(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny_run.path.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    record = json.loads((other / "run.json").read_text())
    renamed, record["labels"][0] = record["labels"][0], "Astrology"
    (other / "run.json").write_text(json.dumps(record))
    with pytest.raises(LabelError) as raised:
        compare_models(tiny_run.path, other, sample_paths.val)
    assert f"only {tiny_run.path} has {renamed!r} and only {other} has 'Astrology'" in str(raised.value)


def test_papers_that_a_model_was_trained_on_cannot_be_compared(
    tiny_run: TrainingRun, sample_paths: SamplePaths
) -> None:
    with pytest.raises(ConfigError, match=f"none of its {sample_paths.n_train} papers can be compared"):
        compare_models(tiny_run.path, tiny_run.path, sample_paths.train)


def test_copies_of_a_paper_are_compared_once(tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path) -> None:
    """A gate that needs many papers must not pass on a few of them that are there many times."""
    few = pq.read_table(sample_paths.val).slice(0, 5)
    pq.write_table(pa.concat_tables([few] * 40), tmp_path / "copies.parquet")
    found = compare_models(tiny_run.path, tiny_run.path, tmp_path / "copies.parquet", max_f1_loss=0.01)
    assert found.report.compared.papers == 5
    note = "195 of 200 papers have the same text as an earlier paper; each text is compared once"
    assert found.report.notes[-1] == note
    with pytest.raises(GateError):
        found.refuse_loss()


def test_a_graph_of_a_run_is_an_error_that_names_the_option(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    with pytest.raises(ConfigError, match=r"--graph-b fp32: .* is a run and has no graphs; leave --graph-b out"):
        compare_models(tiny_run.path, tiny_run.path, sample_paths.val, graph_b="fp32")


def test_two_graphs_of_a_bundle_are_compared_and_pass_the_gate(
    tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    words = ["compare-models", str(tiny_bundle), str(tiny_bundle), "--graph-a", "fp32", "--graph-b", "int8"]
    words += ["--papers", str(sample_paths.val), "--out", str(tmp_path / "out"), "--max-f1-loss", "0.05"]
    result = CliRunner().invoke(build_app(), words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert (report["a"]["graph"], report["b"]["graph"]) == ("model.onnx", "model_int8.onnx")
    assert report["non_inferiority"]["verdict"] == "not worse"
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {
        "report.html", "report.json", "report.md", "predictions.parquet"
    }  # fmt: skip


def test_a_gate_that_fails_ends_with_4_after_the_report_is_written(
    tiny_run: TrainingRun,
    weaker_run: TrainingRun,
    sample_paths: SamplePaths,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["compare-models", str(tiny_run.path), str(weaker_run.path), "--papers", str(sample_paths.val)]
    words += ["--out", str(tmp_path / "out"), "--max-f1-loss", "0.01"]
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 4
    shown = capsys.readouterr().err
    assert "--max-f1-loss 0.01: B loses more than 0.01 of macro F1 compared with A: the difference is -" in shown
    assert (tmp_path / "out/report.html").is_file()
    # Another comparison does not replace this one unnoticed.
    words[2] = str(tiny_run.path)
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 1
    assert "holds another compare-models" in capsys.readouterr().err


def test_bundles_are_compared_without_torch(tiny_bundle: Path, sample_paths: SamplePaths) -> None:
    words = ["compare-models", str(tiny_bundle), str(tiny_bundle), "--papers", str(sample_paths.val), "--json"]
    script = f"""
import sys
for name in ("torch", "transformers", "datasets", "accelerate", "sklearn", "scipy"):
    sys.modules[name] = None  # importing it fails
from specter_batch.cli import main
main({words!r})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["compared"]["agreement"] == 1.0
