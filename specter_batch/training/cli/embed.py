"""The commands about embeddings: the frozen baseline, embeddings to parquet, and projections."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from specter_batch.options import (
    AbstractColumn,
    AsJson,
    LabelColumn,
    PaperIdColumn,
    TitleColumn,
    interruptible,
    warn,
)
from specter_batch.terminal import error_console, progress_bars, show, show_json, show_text

Encoder = Annotated[
    str | None, typer.Option(help="Hub name or local folder of a BERT encoder.  [default: allenai/specter]")
]
Pooling = Annotated[
    Literal["auto", "cls", "pooler", "mean"] | None,
    typer.Option(help="What stands for the paper.  [default: as train has it]"),
]


def baseline(
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="Labelled papers to fit the SVM on.")],
    test: Annotated[Path, typer.Argument(metavar="TEST", help="Labelled papers to score.")],
    encoder: Encoder = None,
    pooling: Pooling = None,
    max_length: Annotated[int | None, typer.Option(min=8, help="Most tokens of a paper.  [default: 512]")] = None,
    model: Annotated[
        list[Path] | None, typer.Option(metavar="RUN_OR_BUNDLE", help="Score it too; may be given several times.")
    ] = None,
    out: Annotated[Path | None, typer.Option(file_okay=False, help="Folder for baseline.json and baseline.md.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace another baseline that --out holds.")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep embeddings in.  [default: ~/.cache/specter-batch/embeddings]")
    ] = None,
    device: Annotated[str, typer.Option(help="Where bundles run: auto, cpu, cuda or cuda:N.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the SVM and of the intervals.")] = 0,
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
) -> None:
    """Score a linear SVM on frozen embeddings, and fine-tuned models beside it."""
    from specter_batch.papers.columns import PaperColumns
    from specter_batch.training.embeddings.cache import EmbeddingCache, default_cache
    from specter_batch.training.embeddings.embed import Embedder
    from specter_batch.training.evaluation.baseline import baseline as run_baseline
    from specter_batch.training.evaluation.baseline import baseline_markdown, claim_baseline, write_baseline

    columns = PaperColumns(paper_id=paper_id_column, title=title_column, abstract=abstract_column, label=label_column)
    with interruptible("run the same command again; embeddings of whole files that were finished are kept"):
        embedder = Embedder.of_encoder(encoder, pooling=pooling, max_length=max_length)
        if out is not None:
            claim_baseline(out, train=train, test=test, encoder=embedder.name, models=model or (), replace=replace)
        report = run_baseline(
            train,
            test,
            embedder=embedder,
            cache=EmbeddingCache(cache or default_cache()),
            models=model or (),
            device=device,
            columns=columns,
            seed=seed,
        )
    if out is not None:
        write_baseline(report, out)
    if as_json:
        show_json(report.model_dump(mode="json"), in_files_too=out is not None)
    else:
        show_text(baseline_markdown(report), in_files_too=out is not None)


def embed(
    papers: Annotated[Path, typer.Argument(metavar="PAPERS", help="Papers: parquet, folder or glob.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Parquet file to write.")],
    encoder: Encoder = None,
    model: Annotated[Path | None, typer.Option(metavar="RUN", help="A run's fine-tuned encoder instead.")] = None,
    pooling: Pooling = None,
    max_length: Annotated[
        int | None, typer.Option(min=8, help="Most tokens of a paper.  [default: 512; of a run, its own]")
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="bf16 is faster on hardware that has it, and a little different.")
    ] = "fp32",
    replace: Annotated[bool, typer.Option("--replace", help="Replace embeddings of another model in OUT.")] = False,
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
) -> None:
    """Write papers' embeddings to parquet, pretrained or fine-tuned."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    from specter_batch.errors import ConfigError
    from specter_batch.papers.columns import PaperColumns
    from specter_batch.training.embeddings.embed import Embedder
    from specter_batch.training.embeddings.file import count_rows, write_embeddings

    if model is not None and (encoder is not None or pooling is not None):
        raise ConfigError("--model takes a run's own encoder and pooling; leave --encoder and --pooling out")
    columns = PaperColumns(paper_id=paper_id_column, title=title_column, abstract=abstract_column, label=label_column)
    bar = (TextColumn("papers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        interruptible("nothing was written, run the same command again"),
        progress_bars(error_console(), *bar) as progress,
    ):
        task = progress.add_task("papers", total=count_rows(papers, out))
        if model is None:
            embedder = Embedder.of_encoder(encoder, pooling=pooling, max_length=max_length, precision=precision)
        else:
            embedder = Embedder.of_run(model, max_length=max_length, precision=precision)
        written = write_embeddings(
            embedder,
            papers,
            out,
            columns=columns,
            replace=replace,
            advance=lambda rows: progress.advance(task, rows),
        )
    warn(*written["notes"])
    if as_json:
        show_json(written, in_files_too=True)
        return
    without = "".join(f", {count:,} {reason}" for reason, count in written["null"].items())
    show(
        f"{written['rows']:,} rows: {written['embedded']:,} embedded{without and f'; null{without[1:]}'}",
        f"{out}: {written['encoder']}, {written['pooling']} pooling, at most {written['max_length']} tokens",
        in_files_too=True,
    )


def project(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    papers: Annotated[Path, typer.Argument(metavar="PAPERS", help="Labelled papers, best not those of the training.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Picture to write: .svg or .png.")],
    method: Annotated[Literal["pca", "umap"], typer.Option(help="umap needs umap-learn.")] = "pca",
    encoder: Annotated[
        str | None, typer.Option(help="Encoder before fine-tuning.  [default: the one that RUN names]")
    ] = None,
    sample: Annotated[int, typer.Option(min=4, help="Most papers to draw, chosen at random.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the choice, and of UMAP.")] = 0,
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
) -> None:
    """Draw labelled papers on a plane, before and after fine-tuning."""
    from specter_batch.papers.columns import PaperColumns
    from specter_batch.training.embeddings.projection import project as run_projection

    columns = PaperColumns(paper_id=paper_id_column, title=title_column, abstract=abstract_column, label=label_column)
    with interruptible("nothing was written, run the same command again"):
        drawn = run_projection(
            run, papers, out, method=method, encoder=encoder, n_papers=sample, columns=columns, seed=seed
        )
    if as_json:
        show_json(drawn)
        return
    shares = [f"{drawn[when]['same_label_neighbours']:.1%}" for when in ("before", "after")]
    show(
        f"{out}: {drawn['papers']:,} papers, {drawn['trained_on']:,} of them trained on; nearest neighbour has the "
        f"same label: {shares[0]} before, {shares[1]} after fine-tuning"
    )
