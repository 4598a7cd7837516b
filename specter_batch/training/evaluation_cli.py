"""The command that scores a model on labelled papers."""

import json
from pathlib import Path
from typing import Annotated

import typer

from specter_batch.options import AbstractColumn, AsJson, DeviceName, LabelColumn, PaperIdColumn, TitleColumn


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="Run folder (Torch) or bundle (ONNX).")],
    papers: Annotated[Path, typer.Argument(metavar="TEST", help="Labelled papers: parquet, folder or glob.")],
    out: Annotated[Path | None, typer.Option(help="Folder for report.json and report.md.")] = None,
    device: DeviceName = "auto",
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
) -> None:
    """Score a run or a bundle on labelled papers, those it was trained on kept apart."""
    from specter_batch.papers import PaperColumns
    from specter_batch.scores import scores_markdown
    from specter_batch.training.evaluation import evaluate as run_evaluation
    from specter_batch.training.evaluation import write_evaluation

    columns = PaperColumns(paper_id=paper_id_column, title=title_column, abstract=abstract_column, label=label_column)
    report = run_evaluation(model, papers, device=device, columns=columns)
    if out is not None:
        write_evaluation(report, out)
    typer.echo(json.dumps(report) if as_json else scores_markdown(report))
