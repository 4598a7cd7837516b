"""The training layer's commands; those of a larger topic lie in a module of their own."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from specter_batch.options import (
    AbstractColumn,
    AsJson,
    ConfigFile,
    LabelColumn,
    PaperIdColumn,
    TitleColumn,
    interruptible,
)
from specter_batch.training.evaluation_cli import evaluate


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command()(train)
    app.command()(evaluate)
    app.command()(demo)


def train(
    train_papers: Annotated[Path, typer.Argument(metavar="TRAIN", help="Labelled papers: parquet, folder or glob.")],
    val: Annotated[Path, typer.Option(help="Labelled papers to choose the best epoch on.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    encoder: Annotated[
        str | None, typer.Option(help="Hub name or local folder of a BERT encoder.  [default: allenai/specter]")
    ] = None,
    head: Annotated[Literal["linear", "mlp"] | None, typer.Option(help="Classification head.")] = None,
    pooling: Annotated[Literal["cls", "pooler", "mean"] | None, typer.Option(help="What the head reads.")] = None,
    labels: Annotated[
        Literal["auto", "mesh", "mag"] | None, typer.Option(help="Label table; auto takes the labels of TRAIN.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over TRAIN.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Most tokens of a paper.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Papers in a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate of the encoder.")] = None,
    head_learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate of the head.")] = None,
    class_weights: Annotated[bool | None, typer.Option(help="Weigh rare classes up.")] = None,
    precision: Annotated[Literal["fp32", "bf16", "fp16"] | None, typer.Option(help="Arithmetic of the steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all that is random.")] = None,
    config: ConfigFile = None,
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
) -> None:
    """Fine-tune an encoder with a classification head on labelled papers."""
    from specter_batch.papers import PaperColumns
    from specter_batch.training.config import MLP_HIDDEN_SIZES, TrainConfig
    from specter_batch.training.data import read_labelled
    from specter_batch.training.trainer import train as run_training

    columns = PaperColumns(paper_id=paper_id_column, title=title_column, abstract=abstract_column, label=label_column)
    heads = {None: None, "linear": {}, "mlp": {"hidden_sizes": MLP_HIDDEN_SIZES}}
    settings = TrainConfig.load(
        config,
        {
            "encoder": encoder,
            "head": heads[head],
            "pooling": pooling,
            "labels": labels,
            "epochs": epochs,
            "max_length": max_length,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "head_learning_rate": head_learning_rate,
            "class_weights": class_weights,
            "precision": precision,
            "seed": seed,
        },
    )
    advice = "run the same command again to go on from the last finished epoch"
    # The Trainer prints its progress; standard output is for the result alone.
    with interruptible(advice), contextlib.redirect_stdout(sys.stderr):
        run = run_training(
            settings, train_papers=read_labelled(train_papers, columns), val_papers=read_labelled(val, columns), out=out
        )
    found = run.record.training["validation"]
    if as_json:
        typer.echo(json.dumps({"run": str(run.path), **found}))
    else:
        typer.echo(f"validation macro F1 {found['macro_f1']:.4f}, accuracy {found['accuracy']:.4f}")
        typer.echo(f"run folder: {run.path}   next: specter-batch export {run.path} BUNDLE")


def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for everything the demo makes.")],
) -> None:
    """Walk the whole road on synthetic papers: train, export, classify, report."""
    from rich.console import Console

    from specter_batch.training.demo import run_demo

    run_demo(folder, console=Console())
