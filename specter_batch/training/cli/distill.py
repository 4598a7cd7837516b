"""The command that makes a smaller, faster model of a trained one: distill."""

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.errors import UsageError
from specter_batch.options import InputColumns
from specter_batch.options.command import command
from specter_batch.options.screening import ScreeningRules
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import show, show_json, show_notice, warn
from specter_batch.training.cli.surroundings import training_surroundings
from specter_batch.training.cli.train import RunFolder
from specter_batch.training.fit.config import DistillConfig


class DistillRequest(RunFolder, ScreeningRules, InputColumns):
    """The teacher, the papers and the output folder. `DistillConfig` has the settings of the training itself."""

    panel: ClassVar[str] = "Input"

    run: Annotated[LocalPath, Option(argument="RUN")] = Field(
        description="Run folder of the trained model that is the teacher."
    )
    train: LocalPath = Field(
        description="Labelled papers to train on: a parquet file, a folder or a glob. If possible, give the papers "
        "that the teacher was trained on."
    )
    val: LocalPath = Field(
        description="Labelled papers to choose the best epoch on: a parquet file, a folder or a glob."
    )
    test: Annotated[LocalPath | None, Option(default="validation papers")] = Field(
        default=None,
        description="Labelled papers to compare the finished student with its teacher on, once, at the end. They "
        "decide nothing in the training. Papers that a model was trained on are left out.",
    )
    papers: Annotated[LocalPath | None, Option(metavar="DUMP", default="labelled papers only")] = Field(
        default=None,
        description="Unlabelled papers to train on as well, because the teacher labels them: a parquet file, a folder "
        "or a glob. Papers of the kind that the model will label make a better student. Left out are papers of "
        "--train, --val and --test, and papers that `--language` and the options next to it reject.",
    )
    max_papers: Annotated[int, Option(unit="papers")] = Field(
        default=20_000,
        ge=1,
        description="Largest number of papers of --papers to train on. They are chosen by a hash of the text.",
    )
    allow_overlap: Annotated[bool, Option(negative=False)] = Field(
        default=False,
        description="Train although some papers of --val are in --train, too. They help to choose the epoch, and the "
        "validation score leaves them out.",
    )

    def check(self) -> None:
        """Check that options about --papers come with papers.

        Raises:
            UsageError: One of them is given, and there are no papers.
        """
        about_papers = ("max_papers", *ScreeningRules.model_fields)
        given = next((name for name in about_papers if name in self.model_fields_set), None)
        if self.papers is None and given is not None:
            option = self.spelling(given)
            raise UsageError(f"{option} says which of --papers to use, and they are not given; leave {option} out")


@command(
    "specter-batch distill run --layers 6 --train train.parquet --val val.parquet --out student",
    "specter-batch distill run --layers 6 --train train.parquet --val val.parquet --papers papers --out student",
)
def distill(request: DistillRequest, settings: DistillConfig) -> None:
    """Train a student: a faster model with fewer layers that learns from the logits of a trained one."""
    from specter_batch.training.distillation.comparison import comparison_in
    from specter_batch.training.distillation.teaching import Teaching
    from specter_batch.training.fit.trainer import train as run_training
    from specter_batch.training.papers.labelled import read_labelled
    from specter_batch.training.papers.unlabelled import read_unlabelled
    from specter_batch.training.run.folder import TrainingRun

    request.check()
    with training_surroundings() as console:
        teaching = Teaching(TrainingRun.open(request.run), settings)
        fitted, chosen_on = read_labelled(request.train, request.columns), read_labelled(request.val, request.columns)
        tested_on = None if request.test is None else read_labelled(request.test, request.columns)
        notes = [*fitted.notes, *chosen_on.notes, *(tested_on.notes if tested_on else ())]
        if request.papers is not None:
            unlabelled = read_unlabelled(
                request.papers,
                request.columns,
                rules=request,
                known={
                    f"in --{name}": papers.seen_hashes()
                    for name, papers in (("train", fitted), ("val", chosen_on), ("test", tested_on))
                    if papers is not None
                },
                limit=request.max_papers,
            )
            teaching = replace(teaching, unlabelled=unlabelled)
            notes += unlabelled.notes
        if console is not None:
            warn(*notes)
            if teaching.unlabelled is not None:
                show_notice(teaching.unlabelled.told())
        run = run_training(
            settings.of_student(teaching.teacher.record),
            train_papers=fitted,
            val_papers=chosen_on,
            out=request.out,
            allow_overlap=request.allow_overlap,
            test_papers=tested_on,
            threads=request.threads,
            teaching=teaching,
            warn=warn,
            console=console,
        )
    if console is None:
        return
    training = run.record.training
    compared = comparison_in(training)
    if request.as_json:
        found = None if compared is None else compared.model_dump(mode="json")
        scores = training["validation"] | ({"test": training["test"]} if "test" in training else {})
        show_json({"run": str(run.path), **scores, "compared_with_teacher": found}, in_files_too=True)
        return
    sentences = [
        "the student was not compared with its teacher, because there were no papers that neither was trained on",
        f"give others: specter-batch compare-models {request.run} {run.path} --papers PAPERS",
    ]
    if compared is not None:
        sentences = [compared.verdict(), compared.f1_sentence(), compared.speed_sentence()]
    show(
        *sentences,
        f"{run.path / 'report.html'} has the rest",
        f"run folder: {run.path}   next: specter-batch export {run.path} BUNDLE",
        in_files_too=True,
    )
