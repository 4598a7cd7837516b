"""The command that compares two models on the same labelled papers: compare-models."""

from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.graph_names import Precision
from specter_batch.options import InputColumns, JsonOutput
from specter_batch.options.command import command, interruptible
from specter_batch.options.model import BundleDevice
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import show_json, show_text, warn

FASTEST = Option(default="int8 on a CPU and fp16 on CUDA, if the bundle has them")


class ComparisonFolder(JsonOutput):
    """The output folder of the report."""

    panel: ClassVar[str] = "Output"

    out: Annotated[LocalPath | None, Option(default="the report is only printed")] = Field(
        default=None, description="Folder for report.json, report.md, report.html and predictions.parquet."
    )
    replace: Annotated[bool, Option(negative=False)] = Field(
        default=False, description="Replace another comparison in --out. Without it such a run is refused."
    )


class Judgement(Settings):
    """How the difference is judged."""

    panel: ClassVar[str] = "Scores"

    max_f1_loss: Annotated[float | None, Option(default="no limit")] = Field(
        default=None,
        ge=0,
        le=1,
        description="Fail (exit 4) unless the papers show that B loses at most this much macro F1: the whole 95 % "
        "interval of the difference must lie above minus this number.",
    )
    seed: int = Field(default=0, ge=0, description="Random seed of the bootstrap intervals.")


class Graphs(BundleDevice):
    """The device and the graphs that bundles run with."""

    panel: ClassVar[str] = "Model"

    graph_a: Annotated[Precision | None, FASTEST] = Field(
        default=None, description="Graph of bundle A to run. fp32 is exact and slower."
    )
    graph_b: Annotated[Precision | None, FASTEST] = Field(
        default=None, description="Graph of bundle B to run. fp32 is exact and slower."
    )


class CompareOptions(ComparisonFolder, Judgement, Graphs, InputColumns):
    """Options of `compare-models`."""

    panel: ClassVar[str] = "Input"

    a: Annotated[LocalPath, Option(argument="A")] = Field(
        description="Model to compare with, such as the one in use: a run folder (PyTorch) or a bundle (ONNX)."
    )
    b: Annotated[LocalPath, Option(argument="B")] = Field(description="New model: a run folder or a bundle.")
    papers: LocalPath = Field(
        description="Labelled papers to compare on: a parquet file, a folder or a glob. Papers that one of the models "
        "was trained on are left out."
    )


@command(
    "specter-batch compare-models run bundle --papers test.parquet --out comparison --max-f1-loss 0.01",
    "specter-batch compare-models bundle bundle --graph-a fp32 --graph-b int8 --papers test.parquet",
)
def compare_models(options: CompareOptions) -> None:
    """Compare two models (runs or bundles) on the same labelled papers, with intervals and a significance test."""
    from specter_batch.training.evaluation.comparison import compare_models as run_comparison
    from specter_batch.training.evaluation.comparison_report import (
        claim_comparison,
        comparison_markdown,
        write_comparison,
    )

    with interruptible("run the same command again"):
        if options.out is not None:
            claim_comparison(options.out, a=options.a, b=options.b, papers=options.papers, replace=options.replace)
        comparison = run_comparison(
            options.a,
            options.b,
            options.papers,
            device=options.device,
            graph_a=options.graph_a,
            graph_b=options.graph_b,
            columns=options.columns,
            max_f1_loss=options.max_f1_loss,
            seed=options.seed,
        )
    if options.out is not None:
        write_comparison(comparison, options.out)
    warn(*comparison.report.notes)
    if options.as_json:
        show_json(comparison.report.model_dump(mode="json"), in_files_too=options.out is not None)
    else:
        show_text(comparison_markdown(comparison.report), in_files_too=options.out is not None)
    comparison.refuse_loss()
