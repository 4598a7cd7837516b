import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, get_scheduler

from specter_batch.errors import ConfigError, LabelError
from specter_batch.papers.labels import MAG, MESH
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.fit import epoch_choice
from specter_batch.training.fit.arguments import CHECKPOINTS, make_arguments
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.trainer import choose_labels, train
from specter_batch.training.model.head_config import HEAD_PRESETS
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled
from specter_batch.training.run.folder import RUN_FILE, TrainingRun
from specter_batch.training.run.resume import REQUEST_FILE


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


def epochs(training: dict[str, Any]) -> list[float]:
    """Return the validation macro F1 of each epoch."""
    return [entry["eval_macro_f1"] for entry in training["log"] if "eval_macro_f1" in entry]


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
    assert training["validation"]["macro_f1"] == max(epochs(training))


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
        begun = count_epochs(patch)
        run = train(tiny_config, train_papers=train_papers, val_papers=val_papers, out=out)
    assert len(begun) == tiny_config.epochs - epochs_done
    assert_same_weights(run, tiny_run)
    assert run.temperature == tiny_run.temperature
    assert not (out / CHECKPOINTS).exists()


@pytest.mark.parametrize("weight_averaging", [0.0, 0.5])
def test_a_run_that_was_moved_before_its_end_keeps_the_best_epoch(
    short: TrainConfig,
    train_papers: LabelledPapers,
    val_papers: LabelledPapers,
    tmp_path: Path,
    weight_averaging: float,
) -> None:
    papers = {"train_papers": few(train_papers, 48), "val_papers": few(val_papers, 20)}
    # No epoch is better than the first, because nothing is learned at this rate.
    rates = {"learning_rate": 1e-12, "head_learning_rate": 1e-12, "weight_averaging": weight_averaging}
    config = short.model_copy(update={"epochs": 2, **rates})
    whole = train(config, **papers, out=tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after_checkpoint(2, patch)
        train(config, **papers, out=tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert_same_weights(train(config, **papers, out=tmp_path / "moved"), whole)


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
    short: TrainConfig,
    train_papers: LabelledPapers,
    val_papers: LabelledPapers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    papers = {"train_papers": few(train_papers, 48), "val_papers": few(val_papers, 20)}
    monkeypatch.setattr(epoch_choice, "standard_error", lambda _score, **_: -1.0)  # every epoch is clearly worse
    config = short.model_copy(update={"epochs": 6, "early_stopping_patience": 2})
    whole = train(config, **papers, out=tmp_path / "whole")
    assert len(epochs(whole.record.training)) == 3
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after_checkpoint(2, patch)
        train(config, **papers, out=out)
    assert len(epochs(train(config, **papers, out=out).record.training)) == 3


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
    (tmp_path / REQUEST_FILE).write_bytes(b"")
    with pytest.raises(ConfigError, match=rf"{REQUEST_FILE}: is damaged, .*give another --out"):
        train(config, train_papers=papers, val_papers=few(val_papers, 8), out=tmp_path)


def test_a_folder_of_other_things_is_refused(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no output of train"):
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
    with pytest.raises(LabelError, match=f"no training paper has the label {MESH.names[4]}"):
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
            (folder / name).unlink(missing_ok=True)
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
    with pytest.raises(ConfigError, match="was not found"):
        train(short.model_copy(update={"encoder": str(tmp_path / "nowhere")}), **papers, out=tmp_path / "run")
    train(short, **papers, out=tmp_path / "run")


def test_batch_norm_bears_a_last_batch_of_one_paper(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    head = {"hidden_sizes": (8,), "batch_norm": True}
    config = TrainConfig.load(None, short.model_dump() | {"head": head, "warm_start": False})
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


def test_a_frozen_encoder_is_left_as_it_was(
    short: TrainConfig, tiny_encoder: Path, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    config = short.model_copy(update={"freeze_encoder": True, "pooling": "mean", "head": HEAD_PRESETS["ch2"]})
    run = train(config, train_papers=train_papers, val_papers=val_papers, out=tmp_path)
    weights, before = load_file(run.path / "model.safetensors"), load_file(tiny_encoder / "model.safetensors")
    for name, tensor in weights.items():
        if name.startswith("bert."):
            assert torch.equal(tensor, before[name.removeprefix("bert.")]), name
    assert run.record.training["validation"]["macro_f1"] > 0.3
    assert run.record.training["log"] == []


def test_the_head_is_warm_before_the_first_step(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    still = {"learning_rate": 1e-12, "head_learning_rate": 1e-12}  # fine-tuning adds nothing
    scores = {
        warm: train(
            short.model_copy(update={**still, "pooling": "mean", "warm_start": warm}),
            train_papers=train_papers,
            val_papers=val_papers,
            out=tmp_path / str(warm),
        ).record.training["validation"]["macro_f1"]
        for warm in (True, False)
    }
    assert scores[True] > scores[False] + 0.2


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "cosine", "layer_decay": 0.8},
        {"schedule": "cyclic", "cycles": 2, "class_weights": "balanced", "label_smoothing": 0.1},
        {"compute": "bf16", "gradient_checkpointing": True, "gradient_accumulation_steps": 2},
        {"class_weights": "none", "warm_start": False, "pooling": "pooler", "warmup_ratio": 0.0},
    ],
)
def test_a_run_of_other_settings_learns_and_records_them(
    tiny_config: TrainConfig,
    train_papers: LabelledPapers,
    val_papers: LabelledPapers,
    tmp_path: Path,
    settings: dict[str, Any],
) -> None:
    config = TrainConfig.load(None, tiny_config.model_dump() | {"max_length": 64, "epochs": 3} | settings)
    run = train(config, train_papers=train_papers, val_papers=val_papers, out=tmp_path)
    losses = [entry["eval_loss"] for entry in run.record.training["log"] if "eval_loss" in entry]
    assert losses[-1] < losses[0]
    assert run.record.training["settings"] == config.model_dump(mode="json")
    assert settings.items() <= run.record.training["settings"].items()


def test_cyclic_rates_rise_again_to_the_peak(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    arguments = make_arguments(
        short.model_copy(update={"schedule": "cyclic", "cycles": 2, "warmup_ratio": 0.0}), tmp_path
    )
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = get_scheduler(
        arguments.lr_scheduler_type, optimizer, 0, 20, scheduler_specific_kwargs=arguments.lr_scheduler_kwargs
    )
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == rates[10] == 1.0
    assert rates[9] < 0.1
    assert rates[19] < 0.1


def test_a_class_with_one_paper_trains(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    run = train(
        short,
        train_papers=relabelled(train_papers, ["rare", *["asthma", "stroke"] * 12]),
        val_papers=relabelled(val_papers, ["asthma", "stroke"] * 4),
        out=tmp_path,
    )
    assert "rare" in run.labels


def test_a_validation_paper_that_was_trained_on_is_left_out_of_its_score(
    short: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers, tmp_path: Path
) -> None:
    both = pa.concat_tables([few(train_papers, 5).papers, few(val_papers, 20).papers])
    leaky = dataclasses.replace(val_papers, papers=both)
    run = train(short, train_papers=train_papers, val_papers=leaky, out=tmp_path, allow_overlap=True)
    found = run.record.training["validation"]
    assert (found["scored_papers"], found["seen_in_training"]) == (20, 5)


def test_a_run_has_a_page_and_curves(tiny_run: TrainingRun) -> None:
    assert "macro F1" in (tiny_run.path / "report.html").read_text()
    # The record comes last, or a kill in between would leave a finished run without its page.
    times = [(tiny_run.path / name).stat().st_mtime_ns for name in ("training_curves.svg", "report.html", RUN_FILE)]
    assert times == sorted(times)
    assert (tiny_run.path / "training_curves.svg").read_text().startswith("<svg")
