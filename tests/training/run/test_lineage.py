import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForSequenceClassification

from specter_batch.errors import ConfigError
from specter_batch.model.manifest import SEEN_TEXTS_FILE
from specter_batch.papers.labels import LabelSet
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.evaluation.evaluate import evaluate
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.trainer import train
from specter_batch.training.model.encoder import load_encoder
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled
from specter_batch.training.run.folder import RUN_FILE, TrainingRun
from specter_batch.training.run.lineage import STARTED_FROM, Lineage, validation_sha256s


@pytest.fixture(scope="module")
def thirds(sample_paths: SamplePaths) -> list[LabelledPapers]:
    """Return three sets of papers that share no text: two to train on, and one to validate."""
    papers = read_labelled(sample_paths.val)
    size = len(papers) // 3
    return [
        LabelledPapers(papers=papers.papers.slice(i * size, size), dropped={}, source=f"part {i}") for i in range(3)
    ]


@pytest.fixture(scope="module")
def chain(
    tiny_run: TrainingRun,
    tiny_config: TrainConfig,
    thirds: list[LabelledPapers],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[TrainingRun]:
    """Return three runs, each trained from the one before."""
    runs = [tiny_run]
    for papers in thirds[:2]:
        config = tiny_config.model_copy(update={"encoder": str(runs[-1].path), "freeze_encoder": True})
        out = tmp_path_factory.mktemp("chain") / "run"
        runs.append(train(config, train_papers=papers, val_papers=thirds[2], out=out, warn=lambda _: None))
    return runs


def test_a_run_knows_every_text_of_the_runs_before_it(
    chain: list[TrainingRun], sample_paths: SamplePaths, thirds: list[LabelledPapers], tmp_path: Path
) -> None:
    own = [read_labelled(sample_paths.train), *thirds[:2]]
    for length, run in enumerate(chain, start=1):
        texts = [papers.seen_hashes() for papers in own[:length]]
        assert np.array_equal(run.seen_texts(), np.unique(np.concatenate(texts)))
    first = pq.read_table(sample_paths.train).slice(0, 9)
    pq.write_table(first, tmp_path / "test.parquet")
    report = evaluate(chain[-1].path, tmp_path / "test.parquet").report
    assert (report.seen_in_training, report.scored_papers, report.macro_f1) == (9, 0, None)


def test_a_run_says_what_it_started_from(chain: list[TrainingRun]) -> None:
    first, second, third = (run.record.training for run in chain)
    assert first[STARTED_FROM] is None
    assert second[STARTED_FROM]["run"] == str(chain[0].path)
    assert third[STARTED_FROM]["train_sha256"] == second["train_sha256"]
    assert third[STARTED_FROM][STARTED_FROM]["train_sha256"] == first["train_sha256"]
    assert validation_sha256s(third) == {first["validation_sha256"], second["validation_sha256"]}


def test_validation_papers_of_an_earlier_run_flatter_the_later_one_too(
    chain: list[TrainingRun], sample_paths: SamplePaths
) -> None:
    assert evaluate(chain[-1].path, sample_paths.val).report.is_validation_data is True


def test_validation_papers_that_the_encoder_has_seen_are_named(
    tiny_run: TrainingRun,
    tiny_config: TrainConfig,
    sample_paths: SamplePaths,
    thirds: list[LabelledPapers],
    tmp_path: Path,
) -> None:
    said: list[str] = []
    trained_on = read_labelled(sample_paths.train)
    seen = LabelledPapers(papers=trained_on.papers.slice(0, 40), dropped={}, source="seen")
    config = tiny_config.model_copy(update={"encoder": str(tiny_run.path), "freeze_encoder": True})
    run = train(config, train_papers=thirds[0], val_papers=seen, out=tmp_path / "run", warn=said.append)
    assert any("already trained on 40 of 40 validation papers" in sentence for sentence in said)
    assert run.record.training["notes"] == said
    assert run.record.training["validation"]["macro_f1"] is None


def without_lineage(run: TrainingRun, folder: Path, *, encoder: str) -> Path:
    """Copy a run as an older version would have left it."""
    shutil.copytree(run.path, folder)
    record = json.loads((folder / RUN_FILE).read_text())
    del record["training"][STARTED_FROM]
    (folder / RUN_FILE).write_text(json.dumps(record | {"encoder": encoder}))
    return folder


def test_an_older_run_is_followed_to_the_run_it_started_from(
    tiny_run: TrainingRun, chain: list[TrainingRun], tmp_path: Path
) -> None:
    older = without_lineage(tiny_run, tmp_path / "older", encoder=str(chain[1].path))
    found = Lineage.of_encoder(str(older))
    assert np.array_equal(found.seen_texts, chain[1].seen_texts())
    assert found.notes == ()
    assert found.record is not None
    assert found.record[STARTED_FROM]["run"] == str(chain[1].path)


def test_an_older_run_whose_encoder_is_gone_is_warned_about(tiny_run: TrainingRun, tmp_path: Path) -> None:
    older = without_lineage(tiny_run, tmp_path / "older", encoder=str(tmp_path / "gone"))
    (note,) = Lineage.of_encoder(str(older)).notes
    assert "papers that it has seen count as unseen" in note
    from_hub = without_lineage(tiny_run, tmp_path / "hub", encoder="allenai/specter")
    assert Lineage.of_encoder(str(from_hub)).notes == ()


def test_runs_that_name_each_other_end(tiny_run: TrainingRun, tmp_path: Path) -> None:
    one = without_lineage(tiny_run, tmp_path / "one", encoder=str(tmp_path / "two"))
    without_lineage(tiny_run, tmp_path / "two", encoder=str(one))
    assert np.array_equal(Lineage.of_encoder(str(one)).seen_texts, tiny_run.seen_texts())


def test_fine_tuned_weights_without_a_record_are_refused(tiny_run: TrainingRun, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    (folder / RUN_FILE).unlink()
    assert np.array_equal(Lineage.of_encoder(str(folder)).seen_texts, tiny_run.seen_texts())
    (folder / SEEN_TEXTS_FILE).unlink()
    with pytest.raises(ConfigError, match="it is not known which papers it has seen"):
        Lineage.of_encoder(str(folder))


def test_a_run_that_transformers_loaded_and_saved_elsewhere_is_refused_too(
    tiny_run: TrainingRun, tmp_path: Path
) -> None:
    AutoModelForSequenceClassification.from_pretrained(tiny_run.path).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="it is not known which papers it has seen"):
        Lineage.of_encoder(str(tmp_path))


def test_a_bundle_is_refused_and_the_message_asks_for_its_run(tiny_bundle: Path, tiny_config: TrainConfig) -> None:
    config = tiny_config.model_copy(update={"encoder": str(tiny_bundle)})
    with pytest.raises(ConfigError, match="give the run that it was exported from"):
        load_encoder(config, LabelSet(names=("a", "b")))


def test_a_pretrained_encoder_has_seen_nothing(tiny_encoder: Path) -> None:
    for encoder in (str(tiny_encoder), "allenai/specter"):
        lineage = Lineage.of_encoder(encoder)
        assert (len(lineage.seen_texts), lineage.record, lineage.notes) == (0, None, ())
