import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import EarlyStoppingCallback

from specter_batch.errors import ConfigError, LabelError
from specter_batch.labels import MAG, MESH
from specter_batch.metrics import softmax
from specter_batch.sample import SamplePaths
from specter_batch.training.config import TrainConfig
from specter_batch.training.data import LabelledPapers, read_labelled
from specter_batch.training.optimisation import make_loss, make_optimizer
from specter_batch.training.run import RUN_FILE, TrainingRun
from specter_batch.training.trainer import CHECKPOINTS, choose_labels, fit_temperature, train


@pytest.fixture(scope="module")
def train_papers(sample_paths: SamplePaths) -> LabelledPapers:
    return read_labelled(sample_paths.train)


@pytest.fixture(scope="module")
def val_papers(sample_paths: SamplePaths) -> LabelledPapers:
    return read_labelled(sample_paths.val)


@pytest.fixture
def short(tiny_config: TrainConfig) -> TrainConfig:
    """Return settings under which an epoch over a few papers takes no time."""
    return tiny_config.model_copy(update={"epochs": 1, "max_length": 32})


def few(papers: LabelledPapers, n_papers: int) -> LabelledPapers:
    return dataclasses.replace(papers, papers=papers.papers.slice(0, n_papers))


def relabelled(papers: LabelledPapers, labels: list[str]) -> LabelledPapers:
    table = papers.papers.slice(0, len(labels))
    return dataclasses.replace(papers, papers=table.set_column(3, "label", pa.array(labels)))


class Killed(BaseException):
    """Stands for the end of the process."""


def kill_after_checkpoint(number: int, patch: pytest.MonkeyPatch) -> None:
    """End training as soon as so many epochs have been saved; `train` has nothing to clean up after itself."""
    saved = []

    def on_save(self: EarlyStoppingCallback, *args: object, **kwargs: object) -> None:
        saved.append(1)
        if len(saved) == number:
            raise Killed

    patch.setattr(EarlyStoppingCallback, "on_save", on_save)


def count_epochs(patch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by one with each epoch trained."""
    begun: list[int] = []

    def on_epoch_begin(self: EarlyStoppingCallback, *args: object, **kwargs: object) -> None:
        begun.append(1)

    patch.setattr(EarlyStoppingCallback, "on_epoch_begin", on_epoch_begin)
    return begun


def assert_same_weights(run: TrainingRun, other: TrainingRun) -> None:
    weights, others = (load_file(each.path / "model.safetensors") for each in (run, other))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name


def test_training_learns_the_sample(tiny_run: TrainingRun) -> None:
    assert tiny_run.record.training["validation"]["macro_f1"] > 0.5


def test_the_best_epoch_is_kept(tiny_run: TrainingRun) -> None:
    training = tiny_run.record.training
    assert training["validation"]["macro_f1"] == max(epoch["eval_macro_f1"] for epoch in training["history"])


@pytest.mark.parametrize("epochs_done", [1, 3])
def test_a_killed_run_started_again_ends_with_the_same_weights(
    tiny_run: TrainingRun,
    tiny_config: TrainConfig,
    train_papers: LabelledPapers,
    val_papers: LabelledPapers,
    tmp_path: Path,
    epochs_done: int,
) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after_checkpoint(epochs_done, patch)
        train(tiny_config, train_papers=train_papers, val_papers=val_papers, out=out)
    assert not (out / RUN_FILE).exists()
    with pytest.MonkeyPatch.context() as patch:
        epochs = count_epochs(patch)
        run = train(tiny_config, train_papers=train_papers, val_papers=val_papers, out=out)
    assert len(epochs) == tiny_config.epochs - epochs_done
    assert_same_weights(run, tiny_run)
    assert run.temperature == tiny_run.temperature
    assert not (out / CHECKPOINTS).exists()


def test_a_run_killed_while_it_wrote_a_checkpoint_goes_on_from_the_one_before(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    papers = {"train_papers": few(train_papers, 48), "val_papers": few(val_papers, 20)}
    config = short.model_copy(update={"epochs": 3})
    whole = train(config, **papers, out=tmp_path / "whole")
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after_checkpoint(2, patch)
        train(config, **papers, out=out)
    newest = max((out / CHECKPOINTS).iterdir(), key=lambda folder: int(folder.name.partition("-")[2]))
    (newest / "trainer_state.json").unlink()  # written last
    assert_same_weights(train(config, **papers, out=out), whole)


def test_a_killed_run_stops_as_early_as_an_undisturbed_one(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    papers = {"train_papers": few(train_papers, 48), "val_papers": few(val_papers, 20)}
    # At this rate nothing is learned, so no epoch is better than the first.
    config = short.model_copy(update={"epochs": 6, "learning_rate": 1e-12, "early_stopping_patience": 2})
    whole = train(config, **papers, out=tmp_path / "whole")
    assert len(whole.record.training["history"]) == 3
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after_checkpoint(2, patch)
        train(config, **papers, out=out)
    assert len(train(config, **papers, out=out).record.training["history"]) == 3


def test_a_finished_run_folder_is_refused(
    tiny_run: TrainingRun, tiny_config: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers
) -> None:
    with pytest.raises(ConfigError, match="holds a finished run"):
        train(tiny_config, train_papers=train_papers, val_papers=val_papers, out=tiny_run.path)


@pytest.mark.parametrize("changed", ["settings", "papers"])
def test_an_unfinished_run_of_something_else_is_refused(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path, changed: str
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after_checkpoint(1, patch)
        train(short, train_papers=few(train_papers, 32), val_papers=few(val_papers, 8), out=tmp_path)
    config = short.model_copy(update={"seed": 7}) if changed == "settings" else short
    papers = few(train_papers, 32 if changed == "settings" else 33)
    with pytest.raises(ConfigError, match="holds an unfinished run with other settings or papers"):
        train(config, train_papers=papers, val_papers=few(val_papers, 8), out=tmp_path)


def test_a_folder_of_other_things_is_refused(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no training run"):
        train(short, train_papers=train_papers, val_papers=val_papers, out=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_validation_label_that_training_lacks_is_a_label_error(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match="'gout'"):
        train(
            short,
            train_papers=relabelled(train_papers, ["asthma", "stroke"] * 8),
            val_papers=relabelled(val_papers, ["asthma", "gout"]),
            out=tmp_path,
        )


def test_a_validation_label_of_the_table_that_training_lacks_is_a_label_error(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match=f"no training paper has the label.s. {MESH.names[4]}"):
        train(
            short.model_copy(update={"labels": "mesh"}),
            train_papers=relabelled(train_papers, ["0", "1", "2"] * 4),
            val_papers=relabelled(val_papers, ["1", "4"]),
            out=tmp_path,
        )


def test_a_whole_number_that_training_lacks_is_a_label_error_too(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match="'0'"):
        train(
            short,
            train_papers=relabelled(train_papers, ["1", "2", "3"] * 8),
            val_papers=relabelled(val_papers, ["0", "1"]),
            out=tmp_path,
        )


def test_whole_numbers_with_a_named_table_bear_its_names(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    run = train(
        short.model_copy(update={"labels": "mesh"}),
        train_papers=relabelled(train_papers, ["10", "3", "0"] * 8),
        val_papers=relabelled(val_papers, ["3", "10"]),
        out=tmp_path,
    )
    assert run.labels == MESH
    names = json.loads((run.path / "config.json").read_text())["id2label"]
    assert [names[str(i)] for i in range(len(MESH))] == list(MESH)


def test_the_label_tables_are_chosen_by_name(short: TrainConfig, train_papers: LabelledPapers) -> None:
    chosen = {
        table: choose_labels(short.model_copy(update={"labels": table}), train_papers) for table in ("mag", "auto")
    }
    assert chosen["mag"] == MAG
    assert chosen["auto"].names == tuple(sorted(MESH))


def broken_encoder(encoder: Path, folder: Path, fault: str) -> Path:
    if fault == "missing":
        return folder / "nowhere"
    shutil.copytree(encoder, folder)
    if fault == "not BERT":
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
    elif fault == "no configuration":
        (folder / "config.json").unlink()
    elif fault == "no weights":
        (folder / "model.safetensors").unlink()
    else:
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            (folder / name).unlink()
    return folder


@pytest.mark.parametrize(
    "fault",
    [
        "missing",
        "not BERT",
        "no configuration",
        "no tokenizer",
        "no weights",
    ],
)
def test_an_encoder_that_cannot_be_used_is_one_clear_line(
    short: TrainConfig,
    tiny_encoder: Path,
    train_papers: LabelledPapers,
    val_papers: LabelledPapers,
    tmp_path: Path,
    fault: str,
) -> None:
    encoder = broken_encoder(tiny_encoder, tmp_path / "encoder", fault)
    config = short.model_copy(update={"encoder": str(encoder)})
    with pytest.raises(ConfigError) as caught:
        train(config, train_papers=few(train_papers, 32), val_papers=few(val_papers, 8), out=tmp_path / "run")
    assert str(encoder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistyped_encoder_does_not_block_the_folder(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    papers = {"train_papers": few(train_papers, 32), "val_papers": few(val_papers, 8)}
    with pytest.raises(ConfigError, match="neither a folder"):
        train(short.model_copy(update={"encoder": str(tmp_path / "nowhere")}), **papers, out=tmp_path / "run")
    train(short, **papers, out=tmp_path / "run")


def test_batch_norm_bears_a_last_batch_of_one_paper(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    config = TrainConfig.load(None, short.model_dump() | {"head": {"hidden_sizes": (8,), "batch_norm": True}})
    run = train(
        config,
        train_papers=few(train_papers, 2 * config.batch_size + 1),
        val_papers=few(val_papers, 8),
        out=tmp_path / "run",
    )
    assert load_file(run.path / "model.safetensors")["head.2.num_batches_tracked"] == 2 * config.epochs


def test_an_mlp_head_with_batch_norm_trains(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    head = {"hidden_sizes": (16, 8), "batch_norm": True, "activation": "gelu", "dropout": 0.0}
    config = TrainConfig.load(None, short.model_dump() | {"head": head, "pooling": "mean"})
    run = train(config, train_papers=few(train_papers, 48), val_papers=few(val_papers, 20), out=tmp_path)
    assert run.record.head == {**head, "hidden_sizes": [16, 8]}
    weights = load_file(run.path / "model.safetensors")
    assert weights["head.2.num_batches_tracked"] == 3


def test_class_weights_make_a_rare_class_count_as_much_as_a_common_one(short: TrainConfig) -> None:
    train_ids = np.array([0] * 90 + [1] * 10)
    logits, true = torch.zeros(100, 2), torch.tensor(train_ids)
    logits[:, 0] = 2.0
    losses = {
        weighted: make_loss(short.model_copy(update={"class_weights": weighted}), train_ids, n_labels=2)(
            {"logits": logits}, true
        )
        for weighted in (False, True)
    }
    torch.testing.assert_close(losses[False], nn.functional.cross_entropy(logits, true))
    each = nn.functional.cross_entropy(logits, true, reduction="none")
    torch.testing.assert_close(losses[True], (each[:90].mean() + each[90:].mean()) / 2)


def test_accumulated_batches_add_up_to_the_loss_of_one_large_batch(short: TrainConfig) -> None:
    torch.manual_seed(0)
    logits, true = torch.randn(12, 3), torch.randint(0, 3, (12,))
    loss = make_loss(short, true.numpy(), n_labels=3)
    parts = [loss({"logits": logits[rows]}, true[rows], 12) for rows in (slice(0, 8), slice(8, 12))]
    torch.testing.assert_close(sum(parts), loss({"logits": logits}, true))


def test_the_head_has_its_own_learning_rate_and_only_matrices_decay(tiny_run: TrainingRun, short: TrainConfig) -> None:
    from specter_batch.training.model import SpecterForSequenceClassification

    model = SpecterForSequenceClassification.from_pretrained(tiny_run.path)
    config = short.model_copy(update={"head_learning_rate": 0.5, "weight_decay": 0.25})
    settings = {
        parameter: (group["lr"], group["weight_decay"])
        for group in make_optimizer(model, config).param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        rate = 0.5 if name.startswith("head.") else config.learning_rate
        decays = parameter.ndim > 1
        assert settings[parameter] == (rate, 0.25 if decays else 0.0), name


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2.0 * temperature, size=(20_000, 5))
    probabilities = softmax(logits, temperature=temperature)
    true = (probabilities.cumsum(axis=1) < generator.random((20_000, 1))).sum(axis=1)
    assert fit_temperature(logits, true) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("confidence", [0.2, 1.0, 10.0])
def test_the_fitted_temperature_never_makes_the_labels_less_likely(confidence: float) -> None:
    generator = np.random.default_rng(1)
    true = generator.integers(0, 4, size=500)
    logits = confidence * (generator.normal(size=(500, 4)) + 1.5 * np.eye(4)[true])

    def negative_log_likelihood(temperature: float) -> float:
        return float(-np.log(softmax(logits, temperature=temperature)[np.arange(500), true]).mean())

    fitted = fit_temperature(logits, true)
    assert negative_log_likelihood(fitted) <= negative_log_likelihood(1.0) + 1e-9


def test_a_faultless_model_gets_a_finite_temperature() -> None:
    true = np.arange(8) % 4
    assert 0.05 <= fit_temperature(9.0 * np.eye(4)[true], true) < 1.0
