"""The command that scores a model on labelled papers: evaluate."""

from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.options import InputColumns, JsonOutput
from specter_batch.options.command import command
from specter_batch.options.model import BundleDevice, Graph
from specter_batch.settings import Settings
from specter_batch.settings.declaration import FormerName, Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import show_json, show_text, warn


class ReportFolder(JsonOutput):
    """The output folder of the report."""

    panel: ClassVar[str] = "Output"

    out: Annotated[LocalPath | None, Option(default="the report is only printed")] = Field(
        default=None, description="Folder for report.json, report.md, report.html and predictions.parquet."
    )
    replace: Annotated[bool, Option(negative=False)] = Field(
        default=False, description="Replace the evaluation of another model in --out. Without it such a run is refused."
    )


class Scoring(Settings):
    """The scores that are computed."""

    panel: ClassVar[str] = "Scores"

    min_precision: Annotated[float | None, Option(default="no threshold"), FormerName("precision")] = Field(
        default=None,
        ge=0,
        le=1,
        description="Find the lowest score threshold at which the labels kept have at least this precision.",
    )
    strict_leaks: Annotated[bool, Option(negative=False)] = Field(
        default=False, description="Fail if a paper of TEST was in the training data."
    )
    batch_mean_size: Annotated[int, Option(unit="papers")] = Field(
        default=32,
        ge=1,
        description="Batch size of `batch_mean_macro_f1`, which is only for comparison with publications.",
    )
    seed: int = Field(default=0, ge=0, description="Random seed of the bootstrap intervals.")


class BundleRun(BundleDevice):
    """The device and the graph that a bundle runs with."""

    panel: ClassVar[str] = "Model"

    graph: Graph = None


class EvaluateOptions(ReportFolder, Scoring, BundleRun, InputColumns):
    """Options of `evaluate`."""

    panel: ClassVar[str] = "Input"

    model: Annotated[LocalPath, Option(argument="RUN_OR_BUNDLE")] = Field(
        description="Model to evaluate: a run folder (PyTorch) or a bundle (ONNX)."
    )
    papers: Annotated[LocalPath, Option(argument="TEST")] = Field(
        description="Labelled papers to evaluate on: a parquet file, a folder or a glob."
    )


@command(
    "specter-batch evaluate bundle test.parquet --out scores",
    "specter-batch evaluate run test.parquet --min-precision 0.95 --strict-leaks",
)
def evaluate(options: EvaluateOptions) -> None:
    """Evaluate a trained model (run or bundle) on labelled papers. Papers seen in training are excluded."""
    from specter_batch.training.evaluation.evaluate import evaluate as run_evaluation
    from specter_batch.training.evaluation.figures import EvaluationSettings
    from specter_batch.training.evaluation.report import (
        claim_folder,
        evaluation_markdown,
        unscored_sentences,
        write_evaluation,
    )

    settings = EvaluationSettings(
        precision=options.min_precision, batch_mean_size=options.batch_mean_size, seed=options.seed
    )
    if options.out is not None:
        claim_folder(options.out, model=options.model, papers=options.papers, replace=options.replace)
    evaluation = run_evaluation(
        options.model,
        options.papers,
        device=options.device,
        graph=options.graph,
        columns=options.columns,
        settings=settings,
    )
    if options.out is not None:
        write_evaluation(evaluation, options.out)
    warn(*evaluation.report.notes, *unscored_sentences(evaluation.report))
    if options.as_json:
        show_json(evaluation.report.model_dump(mode="json"), in_files_too=options.out is not None)
    else:
        show_text(evaluation_markdown(evaluation.report), in_files_too=options.out is not None)
    if options.strict_leaks:
        evaluation.refuse_leaks()
