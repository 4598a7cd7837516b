"""Recipes of graphs: precision, device, quantization and tolerances."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from specter_batch.errors import ConfigError
from specter_batch.graph_names import DeviceKind, Precision
from specter_batch.model.certificate import MOST_PAPERS
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option

REFERENCE_RECIPE = "reference-fp32"
DEFAULT_RECIPES = ("cpu-int8", "cuda-fp16")


class Quantization(Settings):
    """Settings of the int8 quantization."""

    per_channel: bool = Field(
        default=True, description="Use one scale for each output channel instead of one for each weight matrix."
    )
    smoothing: Annotated[float | None, Option(default="no smoothing")] = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the range of large activation channels that moves into the weights before quantization.",
    )
    reduce_range: bool = Field(
        default=False,
        description="Keep weights within 7 bits, which makes the fast kernels of x86-64 CPUs without VNNI exact.",
    )


class Tolerances(Settings):
    """Largest differences from Torch that pass the parity gate."""

    max_logit_difference: Annotated[float | None, Option(default="no limit")] = Field(
        default=None,
        gt=0,
        description="Fail if any logit differs from PyTorch's by more than this. A temperature below 1 "
        "enlarges the logits, and this limit with them.",
    )
    max_label_flips: Annotated[float | None, Option(default="no limit")] = Field(
        default=None, ge=0, le=1, description="Fail if a larger share of the papers than this has another label."
    )
    min_embedding_cosine: Annotated[float | None, Option(default="no limit")] = Field(
        default=None,
        ge=-1,
        le=1,
        description="Fail if the cosine of an embedding and PyTorch's is smaller than this for any paper.",
    )


class Certification(Settings):
    """How the promise of `max_label_flips` is shown on unseen papers."""

    papers: Annotated[int, Option(unit="papers")] = Field(
        default=4000,
        ge=1,
        le=MOST_PAPERS,
        description="Largest number of papers to check the graph on. More papers show a promise with a narrower "
        "margin, and take more time.",
    )
    fitting_papers: Annotated[int, Option(unit="papers")] = Field(
        default=500, ge=1, description="Largest number of other papers to choose the margins to test with."
    )
    delta: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Largest probability that the promise is wrong, by chance in the choice of the papers.",
    )
    required: bool = Field(
        default=False, description="Fail if the papers cannot show `max_label_flips`, instead of promising less."
    )


class Recipe(Settings):
    """One graph of a bundle."""

    precision: Precision = Field(description="Number format of the graph.")
    device: DeviceKind = Field(description="Kind of device that the graph is for.")
    opset: int = Field(ge=14, description="Version of the ONNX operator set.")
    quantization: Quantization = Quantization()
    tolerances: Tolerances
    certificate: Certification = Certification()

    @property
    def file(self) -> str:
        """The graph's name in the bundle."""
        return "model.onnx" if self.precision == "fp32" else f"model_{self.precision}.onnx"


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe, given by the path of a TOML file or by the name of a recipe in the package.

    Raises:
        ConfigError: There is no such recipe, or it has an unknown key or a wrong value.
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
