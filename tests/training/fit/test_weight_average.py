import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.trainer import train
from specter_batch.training.fit.weight_average import AVERAGE_FILE, WeightAverage
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled

ARGUMENTS, CONTROL = TrainingArguments(use_cpu=True), TrainerControl()

Steps = list[dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def papers(sample_paths: SamplePaths) -> dict[str, LabelledPapers]:
    found = {"train_papers": read_labelled(sample_paths.train), "val_papers": read_labelled(sample_paths.val)}
    return {name: dataclasses.replace(each, papers=each.papers.slice(0, 48)) for name, each in found.items()}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Return a list to which a training adds the weights after each of its steps."""
    found: Steps = []

    def on_step_end(self: object, *args: object, model: nn.Module, **_: object) -> None:
        found.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    monkeypatch.setattr(EarlyStoppingCallback, "on_step_end", on_step_end)
    return found


def averaged(values: list[float], *, share: float) -> float:
    """Return the average of a weight that has one of these values after each step."""
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(share)
    average.on_train_begin(ARGUMENTS, TrainerState(), CONTROL, model=model)
    for step, value in enumerate(values, start=1):
        nn.init.constant_(model.weight, value)
        average.on_step_end(ARGUMENTS, TrainerState(global_step=step), CONTROL, model=model)
    with average.in_use(model):
        return model.weight.item()


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=30), st.floats(0.05, 1))
def test_the_average_lies_between_the_weights_of_the_steps(values: list[float], share: float) -> None:
    found = averaged(values, share=share)
    assert min(values) - 1e-4 <= found <= max(values) + 1e-4
    assert averaged(values, share=1) == pytest.approx(sum(values) / len(values), abs=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_the_average_is_as_old_as_the_mean_of_the_latest_steps(share: float) -> None:
    drifting = [float(step) for step in range(1, 401)]
    latest = drifting[-round(400 * share) :]
    assert averaged(drifting, share=share) == pytest.approx(sum(latest) / len(latest), abs=1)


def test_the_model_has_its_own_weights_back_after_an_error() -> None:
    model = nn.BatchNorm1d(3)
    average = WeightAverage(0.5)
    average.on_train_begin(ARGUMENTS, TrainerState(), CONTROL, model=model)
    for tensor in model.state_dict().values():
        tensor.add_(1)
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="inside"), average.in_use(model):
        assert model.running_var.tolist() == [1, 1, 1]  # the running variance is averaged with the weights
        raise ValueError("inside")
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())


def test_a_run_holds_the_average_of_its_steps(
    tiny_config: TrainConfig, papers: dict[str, LabelledPapers], steps: Steps, tmp_path: Path
) -> None:
    saved: list[dict[str, torch.Tensor]] = []

    def on_save(self: object, args: TrainingArguments, state: TrainerState, *rest: object, **_: object) -> None:
        saved.append(load_file(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / AVERAGE_FILE))

    config = tiny_config.model_copy(update={"epochs": 1, "max_length": 32, "weight_averaging": 1.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EarlyStoppingCallback, "on_save", on_save)
        run = train(config, **papers, out=tmp_path / "run")
    kept = load_file(run.path / "model.safetensors")
    assert len(steps) == 3
    for name in steps[-1]:  # the file also has the copies that transformers reads
        tensor = kept[name]
        expected = torch.stack([weights[name] for weights in steps]).mean(0)
        assert torch.allclose(tensor, expected, atol=1e-6), name
        assert torch.equal(saved[-1][name], tensor)
    assert any(not torch.allclose(kept[name], tensor, atol=1e-4) for name, tensor in steps[-1].items())
    assert "average of the weights over about the latest 100 % of the steps" in (run.path / "report.html").read_text()


def test_a_killed_run_goes_on_with_its_average(
    tiny_config: TrainConfig, papers: dict[str, LabelledPapers], tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def on_save(*_: object, **__: object) -> None:
        raise Killed

    config = tiny_config.model_copy(update={"epochs": 2, "max_length": 32, "weight_averaging": 0.5})
    whole = train(config, **papers, out=tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(EarlyStoppingCallback, "on_save", on_save)
        train(config, **papers, out=tmp_path / "run")
    assert [file.parent.name for file in (tmp_path / "run").rglob(AVERAGE_FILE)] == ["checkpoint-3"]
    run = train(config, **papers, out=tmp_path / "run")
    kept, others = (load_file(each.path / "model.safetensors") for each in (run, whole))
    assert all(torch.equal(tensor, others[name]) for name, tensor in kept.items())
    scores = [entry["eval_macro_f1"] for entry in run.record.training["log"] if "eval_macro_f1" in entry]
    assert run.record.training["validation"]["macro_f1"] == max(scores)


def test_without_averaging_a_run_holds_the_weights_of_its_last_step(
    tiny_config: TrainConfig, papers: dict[str, LabelledPapers], steps: Steps, tmp_path: Path
) -> None:
    config = tiny_config.model_copy(update={"epochs": 1, "max_length": 32, "weight_averaging": 0.0})
    run = train(config, **papers, out=tmp_path / "run")
    kept = load_file(run.path / "model.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in steps[-1].items())
    assert "average of the weights" not in (run.path / "report.html").read_text()
