import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, TrainerState

from specter_batch.errors import ConfigError, SpecterBatchError
from specter_batch.storage.output_claim import folder_holder, folder_locked, this_process
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.fit.arguments import CHECKPOINTS
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.trainer import train
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled
from specter_batch.training.run.folder import RUN_FILE, TrainingRun


@pytest.fixture(scope="module")
def papers(sample_paths: SamplePaths) -> dict[str, LabelledPapers]:
    return {"train_papers": read_labelled(sample_paths.train), "val_papers": read_labelled(sample_paths.val)}


@pytest.fixture(scope="module")
def config(tiny_config: TrainConfig) -> TrainConfig:
    return tiny_config.model_copy(update={"epochs": 3, "max_length": 32})


@pytest.fixture(scope="module")
def undisturbed(
    config: TrainConfig, papers: dict[str, LabelledPapers], tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    return train(config, **papers, out=tmp_path_factory.mktemp("undisturbed") / "run")


def steps_per_epoch(config: TrainConfig, papers: dict[str, LabelledPapers]) -> int:
    return -(-len(papers["train_papers"]) // config.batch_size)


def assert_same_weights(run: TrainingRun, other: TrainingRun) -> None:
    weights, others = (load_file(each.path / "model.safetensors") for each in (run, other))
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("epoch", "step"), [(0, 3), (1, 0), (1, 7), (3, 0)])
def test_an_interrupted_run_goes_on_from_the_step_it_was_stopped_at(
    config: TrainConfig,
    papers: dict[str, LabelledPapers],
    undisturbed: TrainingRun,
    tmp_path: Path,
    number: signal.Signals,
    epoch: int,
    step: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop_at = epoch * steps_per_epoch(config, papers) + step

    def on_step_begin(self: object, args: object, state: TrainerState, *rest: object, **_: object) -> None:
        if state.global_step == stop_at - 1:
            os.kill(os.getpid(), number)

    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EarlyStoppingCallback, "on_step_begin", on_step_begin)
        train(config, **papers, out=out)
    assert "the running step is finished and saved" in capsys.readouterr().err
    assert not (out / RUN_FILE).exists()
    checkpoint = out / CHECKPOINTS / f"checkpoint-{stop_at}"
    assert {file.stat().st_mode for file in checkpoint.iterdir()} == {(out / "training.json").stat().st_mode}
    run = train(config, **papers, out=out)
    assert_same_weights(run, undisturbed)
    scores = [
        [entry["eval_macro_f1"] for entry in each.record.training["log"] if "eval_macro_f1" in entry]
        for each in (run, undisturbed)
    ]
    assert scores[0] == scores[1]


def test_a_second_interrupt_does_not_wait(
    config: TrainConfig, papers: dict[str, LabelledPapers], tmp_path: Path
) -> None:
    def on_step_begin(self: object, *args: object, **_: object) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EarlyStoppingCallback, "on_step_begin", on_step_begin)
        train(config, **papers, out=tmp_path / "run")
    assert not list((tmp_path / "run").glob(f"{CHECKPOINTS}/*"))


def test_a_full_disk_keeps_the_last_checkpoint(
    config: TrainConfig, papers: dict[str, LabelledPapers], undisturbed: TrainingRun, tmp_path: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    begun = []

    def on_epoch_begin(self: object, *args: object, **_: object) -> None:
        begun.append(1)
        if len(begun) == 2:  # a file that may not grow fails as it would on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))

    out = tmp_path / "run"
    try:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SpecterBatchError, match="could not be written"):
            patch.setattr(EarlyStoppingCallback, "on_epoch_begin", on_epoch_begin)
            train(config, **papers, out=out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(begun) == 2
    assert_same_weights(train(config, **papers, out=out), undisturbed)


def test_a_run_folder_is_held_while_it_is_trained_in(
    config: TrainConfig, papers: dict[str, LabelledPapers], tmp_path: Path
) -> None:
    once, out = config.model_copy(update={"epochs": 1}), tmp_path / "run"
    out.mkdir()
    with folder_locked(out), pytest.raises(ConfigError, match=r"run: process \d+ on .+ is at work in this folder"):
        train(once, **papers, out=out)
    holders: list[str | None] = []

    def on_epoch_begin(self: object, *args: object, **_: object) -> None:
        holders.append(folder_holder(out))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EarlyStoppingCallback, "on_epoch_begin", on_epoch_begin)
        train(once, **papers, out=out)
    assert holders == [this_process()]
    assert folder_holder(out) is None


@pytest.mark.parametrize("changes", [{"learning_rate": 1e30}, {"learning_rate": 1e30, "warm_start": False}])
def test_a_training_that_diverges_ends_with_what_to_change(
    config: TrainConfig, papers: dict[str, LabelledPapers], tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"the loss is not finite .* lower --learning-rate"):
        train(config.model_copy(update=changes), **papers, out=tmp_path / "run")
    assert not (tmp_path / "run/run.json").exists()


def test_two_processes_of_torchrun_train_one_run(tiny_encoder: Path, sample_paths: SamplePaths, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--val", sample_paths.val, "--encoder", tiny_encoder, "--out", out, "--max-length", 32]
    rates = ["--epochs", 2, "--learning-rate", 5e-3, "--batch-size", 8, "--compute", "fp32"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    command += ["-m", "specter_batch", "train", sample_paths.train, *options, *rates, "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"macro_f1"') == done.stdout.count('{"run"') == 1
    log = TrainingRun.open(out).record.training["log"]
    n_papers = len(read_labelled(sample_paths.train))
    assert log[-1]["step"] == 2 * -(-n_papers // (2 * 8))
