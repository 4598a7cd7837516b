"""Recipes: what to build, for which device, within which tolerances."""

from pathlib import Path

from pydantic import Field

from specter_batch.errors import ConfigError
from specter_batch.model.graph_names import DeviceKind, Precision
from specter_batch.settings import Settings

REFERENCE_RECIPE = "reference-fp32"
DEFAULT_RECIPES = ("cpu-int8", "cuda-fp16")


class Quantization(Settings):
    """How weights become int8.

    Attributes:
        per_channel: One scale per output channel instead of one per weight.
        smoothing: How far the loudness of activation channels moves into the weights first, from 0 to 1
            (`specter_export.smooth`); not at all when None.
        reduce_range: Keep weights within 7 bits: the fast kernels of x86-64 CPUs without VNNI are exact with these.
    """

    per_channel: bool = True
    smoothing: float | None = Field(default=None, ge=0, le=1)
    reduce_range: bool = False


class Tolerances(Settings):
    """What the parity gate lets pass.

    Attributes:
        max_logit_difference: Largest absolute difference of any logit from Torch; not looked at when None.
        max_label_flips: Largest share of papers with another label than Torch's; not looked at when None.
    """

    max_logit_difference: float | None = Field(default=None, gt=0)
    max_label_flips: float | None = Field(default=None, ge=0, le=1)


class Recipe(Settings):
    """One graph of a bundle."""

    precision: Precision
    device: DeviceKind
    opset: int = Field(ge=14)
    quantization: Quantization = Quantization()
    tolerances: Tolerances

    @property
    def file(self) -> str:
        """The graph's name in the bundle."""
        return "model.onnx" if self.precision == "fp32" else f"model_{self.precision}.onnx"


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe by the path of its TOML, or by the name of one that comes with the package.

    Raises:
        ConfigError: There is no such recipe, or it holds an unknown key or value.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = _recipes_folder() / f"{name}.toml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in _recipes_folder().glob("*.toml")))
            raise ConfigError(f"no recipe named {name}; known: {known}; or give the path of a TOML file")
    return Recipe.load(path, {})


def _recipes_folder() -> Path:
    package = Path(__file__).parent
    installed = package / "recipes"  # in a wheel; in the source tree recipes lie beside the package
    return installed if installed.is_dir() else package.parent / "recipes"
