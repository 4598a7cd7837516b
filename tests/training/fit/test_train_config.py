import os
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import specter_batch.training
from specter_batch.errors import ConfigError
from specter_batch.training.fit.arguments import cpu_precision, make_arguments, resolve_precision
from specter_batch.training.fit.config import DistillConfig, TrainConfig
from specter_batch.training.model.head_config import HEAD_PRESETS, HeadConfig

RECIPES = Path(specter_batch.training.__file__).parent / "recipes"
RECIPE, STUDENT_RECIPE = RECIPES / "fine-tune.toml", RECIPES / "distill.toml"


def test_the_shipped_recipe_lists_every_setting_with_its_default() -> None:
    assert TrainConfig.load(RECIPE, {}) == TrainConfig()
    assert tomllib.loads(RECIPE.read_text()).keys() == TrainConfig.model_fields.keys()


def test_the_recipe_of_students_lists_every_setting_but_the_layers_with_its_default() -> None:
    assert DistillConfig.load(STUDENT_RECIPE, {"layers": 6}) == DistillConfig(layers=6)
    assert tomllib.loads(STUDENT_RECIPE.read_text()).keys() == DistillConfig.model_fields.keys() - {"layers"}


def test_a_head_may_be_named(tmp_path: Path) -> None:
    file = tmp_path / "ch3.toml"
    file.write_text('head = "ch3"')
    assert TrainConfig.load(file, {}).head == HEAD_PRESETS["ch3"]
    assert TrainConfig.load(file, {"head": "narrow"}).head == HEAD_PRESETS["narrow"]


def test_a_flag_takes_the_place_of_the_files_whole_head(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[head]\nhidden_sizes = [32]\ndropout = 0.5\n")
    assert TrainConfig.load(file, {"head": "ch2"}).head == HeadConfig(hidden_sizes=(64,))


def test_an_unknown_head_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"head: .*linear, mlp, ch1.* got 'ch4'"):
        TrainConfig.load(None, {"head": "ch4"})


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("[head]\nhidden_sizes = [64, 0]", "head.hidden_sizes.1: .*more than 0"),
        ('[[head.layers]]\nkind = "Conv2d"', "head.layers.0.kind: .*Linear, Dropout.* got 'Conv2d'"),
        ("learning_rate = inf", "learning_rate: .*finite"),
        ("seed = -1", "seed: .*at least 0"),
        ("seed = 4294967296", "seed: .*less than 4294967296"),
    ],
)
def test_a_value_that_no_run_can_use_is_refused_at_once(tmp_path: Path, toml: str, told: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(toml)
    with pytest.raises(ConfigError, match=told):
        TrainConfig.load(file, {})


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what happens without a CUDA device")
def test_fp16_without_cuda_is_refused() -> None:
    with pytest.raises(ConfigError, match="--compute fp16 needs a CUDA device"):
        resolve_precision(TrainConfig(compute="fp16"))


@pytest.mark.parametrize("capabilities", [{"avx512_bf16": True}, {"amx_bf16": True}, {}])
def test_auto_takes_bf16_where_the_processor_has_it(capabilities: dict[str, bool]) -> None:
    assert cpu_precision(capabilities) == ("bf16" if capabilities else "fp32")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what a CPU does")
def test_auto_asks_the_processor_at_hand() -> None:
    can = getattr(torch.cpu, "get_capabilities", dict)()
    assert resolve_precision(TrainConfig()) == cpu_precision(can)


@pytest.mark.skipif(any(map(find_spec, ("tensorboard", "tensorboardX"))), reason="asks what happens without it")
def test_tracking_without_its_package_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        make_arguments(TrainConfig(track="tensorboard"), tmp_path)


def test_tracking_is_off_unless_asked_for(tmp_path: Path) -> None:
    assert make_arguments(TrainConfig(), tmp_path).report_to == []


def test_wandb_without_a_key_stays_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.setenv(name, "")  # so that whatever the variable is set to later is undone after the test
        monkeypatch.delenv(name)
    assert make_arguments(TrainConfig(track="wandb"), tmp_path / "run").report_to == ["wandb"]
    assert (os.environ["WANDB_MODE"], os.environ["WANDB_DIR"]) == ("offline", str(tmp_path / "run"))


def test_an_fp32_run_after_a_bf16_one_is_fp32(tmp_path: Path) -> None:
    for precision, expected in (("bf16", "bf16"), ("fp32", "no")):
        make_arguments(TrainConfig(compute=precision), tmp_path)
        assert os.environ["ACCELERATE_MIXED_PRECISION"] == expected
