"""The command that fine-tunes a model: train."""

from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.options import InputColumns, JsonOutput
from specter_batch.options.command import command
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import show, show_json, warn
from specter_batch.training.cli.surroundings import training_surroundings
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.model.settings import CpuThreads


class RunFolder(CpuThreads, JsonOutput):
    """The run folder to write."""

    panel: ClassVar[str] = "Output"

    out: LocalPath = Field(description="Run folder to write. If it holds an interrupted run, training resumes there.")


class TrainRequest(RunFolder, InputColumns):
    """The papers and the output folder of a run. `TrainConfig` has the settings of the training itself."""

    panel: ClassVar[str] = "Input"

    papers: Annotated[LocalPath, Option(argument="TRAIN")] = Field(
        description="Labelled papers to train on: a parquet file, a folder or a glob."
    )
    val: LocalPath = Field(
        description="Labelled papers to choose the best epoch on: a parquet file, a folder or a glob."
    )
    test: Annotated[LocalPath | None, Option(default="no test")] = Field(
        default=None,
        description="Labelled papers to score the finished model on, once, at the end. They decide nothing in the "
        "training. Papers that are in TRAIN or --val, too, are left out of the score.",
    )
    allow_overlap: Annotated[bool, Option(negative=False)] = Field(
        default=False,
        description="Train although some papers of --val are in TRAIN, too. They help to choose the epoch, and the "
        "validation score leaves them out.",
    )


@command(
    "specter-batch train train.parquet --val val.parquet --out run",
    "specter-batch train parts/train.parquet --val parts/val.parquet --test parts/test.parquet --out run --head mlp",
)
def train(request: TrainRequest, settings: TrainConfig) -> None:
    """Fine-tune an encoder with a classification head on labelled papers."""
    from specter_batch.training.fit.final_test import result_of_test
    from specter_batch.training.fit.trainer import train as run_training
    from specter_batch.training.papers.labelled import read_labelled

    with training_surroundings() as console:
        fitted, chosen_on = read_labelled(request.papers, request.columns), read_labelled(request.val, request.columns)
        tested_on = None if request.test is None else read_labelled(request.test, request.columns)
        if console is not None:
            warn(*fitted.notes, *chosen_on.notes, *(tested_on.notes if tested_on else ()))
        run = run_training(
            settings,
            train_papers=fitted,
            val_papers=chosen_on,
            out=request.out,
            allow_overlap=request.allow_overlap,
            test_papers=tested_on,
            threads=request.threads,
            warn=warn,
            console=console,
        )
    if console is None:
        return
    found, test = run.record.training["validation"], run.record.training.get("test")
    if request.as_json:
        show_json({"run": str(run.path), **found, **({} if test is None else {"test": test})}, in_files_too=True)
    else:
        scored = "no unseen papers to score" if found["macro_f1"] is None else f"macro F1 {found['macro_f1']:.4f}"
        show(
            f"validation: {scored}; {run.path / 'report.html'} has the rest",
            *([] if test is None else [result_of_test(test)]),
            f"run folder: {run.path}   next: specter-batch export {run.path} BUNDLE",
            in_files_too=True,
        )
