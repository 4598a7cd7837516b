"""The job layer's command: classify."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

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


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(classify)


def classify(
    dump: Annotated[str, typer.Argument(metavar="DUMP", help="Papers: parquet file, folder or glob.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for labels, rejects and reports.")],
    bundle: Annotated[Path | None, typer.Option(help="Model bundle.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.  [default: auto]")] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None, typer.Option(help="Graph to run instead of the device's own choice.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Papers at once on a CPU.  [default: the usable cores]")] = None,
    shard_rows: Annotated[int | None, typer.Option(help="Rows of a shard.  [default: 5000]")] = None,
    language: Annotated[
        Literal["en", "any"] | None, typer.Option(help="en rejects other languages; any takes all.  [default: en]")
    ] = None,
    missing_abstract: Annotated[
        Literal["reject", "title_only"] | None, typer.Option(help="What to do without an abstract.  [default: reject]")
    ] = None,
    probabilities: Annotated[
        bool | None, typer.Option("--probabilities/--no-probabilities", help="Write all labels' probabilities.")
    ] = None,
    max_failed_shards: Annotated[
        int | None, typer.Option(help="Stop when more shards have failed.  [default: 100]")
    ] = None,
    config: ConfigFile = None,
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
) -> None:
    """Label a dump of papers; run again, it goes on where it stopped."""
    from rich.console import Console

    from specter_jobs.config import NightConfig
    from specter_jobs.nightly import run_night

    settings = NightConfig.load(
        config,
        {
            "dump": dump,
            "out": out,
            "bundle": bundle,
            "device": device,
            "precision": precision,
            "workers": workers,
            "shard_rows": shard_rows,
            "language": language,
            "missing_abstract": missing_abstract,
            "probabilities": probabilities,
            "max_failed_shards": max_failed_shards,
            "paper_id_column": paper_id_column,
            "title_column": title_column,
            "abstract_column": abstract_column,
            "label_column": label_column,
        },
    )
    with interruptible("what is finished is kept, run the same command again to go on"):
        result = run_night(settings, console=Console(stderr=True))
    if as_json:
        typer.echo(json.dumps(result.report | {"manifest": result.manifest}))
    else:
        typer.echo(_summary(result.report, result.manifest, out))
    raise typer.Exit(result.exit_code)


def _summary(report: dict[str, Any], manifest: dict[str, Any], out: Path) -> str:
    rows, device, run = report["rows"], manifest["device"], manifest["this_run"]
    lines = [
        f"{rows['in']:,} rows: {rows['labelled']:,} labelled, {rows['rejected']:,} rejected, {rows['failed']:,} failed",
        f"on {device['device']} ({device['provider']}, {device['graph']}), "
        f"{run['papers']:,} papers in this run, {run['papers_per_second'] or 0:,} papers/s",
    ]
    lines += [f"failed: {name}: {error}" for name, error in report["failed_shards"].items()]
    lines.append(f"labels: {out / 'labels'}   report: {out / 'report.md'}")
    return "\n".join(lines)
