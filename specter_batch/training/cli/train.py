"""The command that fine-tunes a model."""

import contextlib
import os
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
    warn,
)
from specter_batch.terminal import show, show_json

Head = Literal["linear", "mlp", "ch1", "ch2", "ch2.2", "ch3", "narrow"]


def train(
    train_papers: Annotated[Path, typer.Argument(metavar="TRAIN", help="Labelled papers: parquet, folder or glob.")],
    val: Annotated[Path, typer.Option(help="Labelled papers to choose the best epoch on.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    encoder: Annotated[
        str | None, typer.Option(help="Hub name or local folder of a BERT encoder.  [default: allenai/specter]")
    ] = None,
    head: Annotated[Head | None, typer.Option(help="Classification head; a --config can describe any.")] = None,
    pooling: Annotated[
        Literal["auto", "cls", "pooler", "mean"] | None, typer.Option(help="What the head reads.")
    ] = None,
    labels: Annotated[
        Literal["auto", "mesh", "mag"] | None, typer.Option(help="Label table; auto takes the labels of TRAIN.")
    ] = None,
    warm_start: Annotated[bool | None, typer.Option(help="Train the head alone first, on frozen embeddings.")] = None,
    freeze_encoder: Annotated[bool | None, typer.Option(help="Train nothing but the head.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over TRAIN.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Most tokens of a paper.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Papers in a step, on each device.")] = None,
    gradient_accumulation_steps: Annotated[int | None, typer.Option(help="Batches that make one step.")] = None,
    optimizer: Annotated[Literal["adamw", "sgd"] | None, typer.Option(help="What makes the steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate of the encoder.")] = None,
    head_learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate of the head.")] = None,
    layer_decay: Annotated[float | None, typer.Option(help="Rate of a layer relative to the one above.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of all matrices.")] = None,
    schedule: Annotated[
        Literal["linear", "cosine", "cyclic"] | None, typer.Option(help="Of the rates, after the warm-up.")
    ] = None,
    warmup_ratio: Annotated[float | None, typer.Option(help="Share of the steps that the rates take to rise.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Of the true labels.")] = None,
    class_weights: Annotated[
        Literal["none", "sqrt", "balanced"] | None, typer.Option(help="How far to weigh rare classes up.")
    ] = None,
    early_stopping_patience: Annotated[int | None, typer.Option(help="Epochs without gain before the end.")] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"] | None, typer.Option(help="Arithmetic of the steps.")
    ] = None,
    gradient_checkpointing: Annotated[bool | None, typer.Option(help="Less memory for a third more time.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all that is random.")] = None,
    track: Annotated[
        Literal["none", "wandb", "tensorboard"] | None, typer.Option(help="Where else to log the progress.")
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Go on although some papers of --val are also in TRAIN.")
    ] = False,
    config: ConfigFile = None,
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
) -> None:
    """Fine-tune an encoder with a classification head on labelled papers."""
    from specter_batch.papers.columns import PaperColumns
    from specter_batch.training.fit.config import TrainConfig
    from specter_batch.training.fit.trainer import train as run_training
    from specter_batch.training.papers.labelled import read_labelled

    columns = PaperColumns(paper_id=paper_id_column, title=title_column, abstract=abstract_column, label=label_column)
    settings = TrainConfig.load(
        config,
        {
            "encoder": encoder,
            "head": head,
            "pooling": pooling,
            "labels": labels,
            "warm_start": warm_start,
            "freeze_encoder": freeze_encoder,
            "epochs": epochs,
            "max_length": max_length,
            "batch_size": batch_size,
            "gradient_accumulation_steps": gradient_accumulation_steps,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "head_learning_rate": head_learning_rate,
            "layer_decay": layer_decay,
            "weight_decay": weight_decay,
            "schedule": schedule,
            "warmup_ratio": warmup_ratio,
            "label_smoothing": label_smoothing,
            "class_weights": class_weights,
            "early_stopping_patience": early_stopping_patience,
            "precision": precision,
            "gradient_checkpointing": gradient_checkpointing,
            "seed": seed,
            "track": track,
        },
    )
    is_first = os.environ.get("RANK", "0") == "0"  # torchrun starts this command once per device; the first one reports
    advice = "run the same command again to go on from what is saved"
    # The Trainer prints its progress; standard output is for the result alone.
    with interruptible(advice), contextlib.redirect_stdout(sys.stderr):
        fitted, chosen_on = read_labelled(train_papers, columns), read_labelled(val, columns)
        if is_first:
            warn(*fitted.notes, *chosen_on.notes)
        run = run_training(
            settings, train_papers=fitted, val_papers=chosen_on, out=out, allow_overlap=allow_overlap, warn=warn
        )
    if not is_first:
        return
    found = run.record.training["validation"]
    if as_json:
        show_json({"run": str(run.path), **found}, in_files_too=True)
    else:
        scored = "no unseen papers to score" if found["macro_f1"] is None else f"macro F1 {found['macro_f1']:.4f}"
        show(
            f"validation: {scored}; {run.path / 'report.html'} has the rest",
            f"run folder: {run.path}   next: specter-batch export {run.path} BUNDLE",
            in_files_too=True,
        )
