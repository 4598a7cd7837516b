"""The command that makes a bundle of a training run: export."""

from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.options import JsonOutput
from specter_batch.options.command import command
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import show
from specter_export.cli.parity_table import show_reports


class ExportOptions(JsonOutput):
    """Options of `export`."""

    panel: ClassVar[str] = "Export"

    run: Annotated[LocalPath, Option(argument="RUN")] = Field(description="Run folder that train wrote.")
    bundle: Annotated[LocalPath, Option(argument="BUNDLE")] = Field(description="Bundle folder to write.")
    recipe: Annotated[tuple[str, ...], Option(metavar="NAME_OR_FILE", default="cpu-int8 and cuda-fp16")] = Field(
        default=(), description="What to build: the name of a shipped recipe, or a TOML file."
    )
    papers: Annotated[LocalPath | None, Option(default="papers that are kept in the run")] = Field(
        default=None, description="Labelled papers to compare the ONNX model with PyTorch on."
    )


@command("specter-batch export run bundle", "specter-batch export run bundle --recipe cpu-int8 --papers val.parquet")
def export(options: ExportOptions) -> None:
    """Export a training run to an ONNX bundle. It fails if the ONNX model gives other labels than PyTorch."""
    from specter_batch.training.run.folder import TrainingRun
    from specter_export.recipe import DEFAULT_RECIPES, load_recipe

    recipes = [load_recipe(name) for name in options.recipe or DEFAULT_RECIPES]
    training_run = TrainingRun.open(options.run)

    from specter_export.build import build_bundle  # seconds of imports: only now that there is something to build

    reports = build_bundle(training_run, options.bundle, recipes=recipes, papers=options.papers)
    show_reports(reports, as_json=options.as_json)
    if not options.as_json:
        show(
            f"bundle: {options.bundle}   next: specter-batch classify DUMP OUT --bundle {options.bundle}",
            in_files_too=True,
        )
