from pathlib import Path

import pytest

from specter_batch.errors import ConfigError
from specter_export.recipe import DEFAULT_RECIPES, REFERENCE_RECIPE, load_recipe

RECIPE = 'precision = "int8"\ndevice = "cpu"\nopset = 18\n[tolerances]\nmax_label_flips = 0.01\n'


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text)
    return file


def test_the_shipped_recipes_have_a_gate() -> None:
    for name in (REFERENCE_RECIPE, *DEFAULT_RECIPES):
        tolerances = load_recipe(name).tolerances
        assert tolerances.max_logit_difference is not None or tolerances.max_label_flips is not None, name


def test_the_reference_is_fp32_within_a_ten_thousandth() -> None:
    recipe = load_recipe(REFERENCE_RECIPE)
    assert (recipe.precision, recipe.file) == ("fp32", "model.onnx")
    assert recipe.tolerances.max_logit_difference == 1e-4


def test_the_graph_is_named_after_its_precision() -> None:
    assert load_recipe("cpu-int8").file == "model_int8.onnx"


def test_a_recipe_may_be_a_file_of_ones_own(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, RECIPE))
    assert recipe.tolerances.max_label_flips == 0.01
    assert recipe.quantization.per_channel


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no recipe named cpu-int4; known: cpu-int8, cuda-fp16, reference-fp32"):
        load_recipe("cpu-int4")


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_recipe(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"bits = 4\n{RECIPE}", "bits"),
        (f"{RECIPE}max_flips = 0.1\n", "tolerances.max_flips"),
        (f"{RECIPE}[quantization]\nper_tensor = true\n", "quantization.per_tensor"),
        (f"{RECIPE}[quantization]\nsmoothing = 1.5\n", "quantization.smoothing"),
        (RECIPE.replace("int8", "int4"), "precision"),
        (RECIPE.replace("18", "11"), "opset"),
        (RECIPE.replace("0.01", "1.5"), "tolerances.max_label_flips"),
        (RECIPE.partition("[")[0], "tolerances"),
        ("precision = ", "not valid TOML"),
    ],
)
def test_a_key_or_value_that_no_recipe_has_is_refused(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        load_recipe(write(tmp_path, text))
