"""The command that scores a model on labelled papers."""

from pathlib import Path
from typing import Annotated

import typer

from specter_batch.options import AbstractColumn, AsJson, DeviceName, LabelColumn, PaperIdColumn, TitleColumn, warn
from specter_batch.terminal import show_json, show_text


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="Run folder (Torch) or bundle (ONNX).")],
    papers: Annotated[Path, typer.Argument(metavar="TEST", help="Labelled papers: parquet, folder or glob.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.json, report.md, report.html and predictions.parquet.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the evaluation of another model that --out holds.")
    ] = False,
    device: DeviceName = "auto",
    precision: Annotated[
        float | None, typer.Option(help="Find the score threshold that reaches this precision.", min=0.0, max=1.0)
    ] = None,
    strict_leaks: Annotated[
        bool, typer.Option("--strict-leaks", help="Fail when a text of TEST was in the training data.")
    ] = False,
    batch_mean_size: Annotated[
        int, typer.Option(help="Papers in a batch of the older per-batch F1, told for comparison.", min=1)
    ] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
) -> None:
    """Score a run or a bundle on labelled papers, those it was trained on kept apart."""
    from specter_batch.papers.columns import PaperColumns
    from specter_batch.training.evaluation.evaluate import evaluate as run_evaluation
    from specter_batch.training.evaluation.figures import EvaluationSettings
    from specter_batch.training.evaluation.report import (
        claim_folder,
        evaluation_markdown,
        unscored_sentences,
        write_evaluation,
    )

    columns = PaperColumns(paper_id=paper_id_column, title=title_column, abstract=abstract_column, label=label_column)
    settings = EvaluationSettings(precision=precision, batch_mean_size=batch_mean_size, seed=seed)
    if out is not None:
        claim_folder(out, model=model, papers=papers, replace=replace)
    evaluation = run_evaluation(model, papers, device=device, columns=columns, settings=settings)
    if out is not None:
        write_evaluation(evaluation, out)
    warn(*evaluation.report.notes, *unscored_sentences(evaluation.report))
    if as_json:
        show_json(evaluation.report.model_dump(mode="json"), in_files_too=out is not None)
    else:
        show_text(evaluation_markdown(evaluation.report), in_files_too=out is not None)
    if strict_leaks:
        evaluation.refuse_leaks()
