"""The job layer's commands: classify here; estimate, status and verify beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from specter_batch.argument_checks import UrlOrPath
from specter_batch.options import (
    AbstractColumn,
    AsJson,
    ConfigFile,
    LabelColumn,
    PaperIdColumn,
    TitleColumn,
    interruptible,
)
from specter_batch.terminal import error_console, show, show_json
from specter_jobs.cli.estimate import estimate
from specter_jobs.cli.inspect import status, verify
from specter_jobs.cli.options import (
    Delimiter,
    Encoding,
    Escape,
    Language,
    MinCharacters,
    MissingAbstract,
    PrecisionName,
    Probabilities,
    Quote,
    ShardRows,
)
from specter_jobs.dumps.names import FormatName

if TYPE_CHECKING:
    from specter_batch.storage.location import Location


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command()(estimate)
    app.command()(classify)
    app.command()(status)
    app.command()(verify)


def classify(
    dump: Annotated[
        str | None,
        UrlOrPath(),
        typer.Argument(
            metavar="DUMP", help="Papers: parquet file, folder, glob or URL; may be in --config.", show_default=False
        ),
    ] = None,
    out: Annotated[
        str | None,
        UrlOrPath(),
        typer.Argument(
            metavar="OUT",
            help="Folder or URL for labels, rejects and reports; may be in --config.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[str | None, UrlOrPath(), typer.Option(help="Model bundle: folder or URL.")] = None,
    format_: Annotated[
        FormatName | None,
        typer.Option("--format", help="Format of a public dump that is not parquet yet.", show_default=False),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or cuda:all.  [default: auto]")] = None,
    precision: PrecisionName = None,
    engine: Annotated[
        Literal["local", "ray"] | None, typer.Option(help="This machine, or a Ray cluster.  [default: local]")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Running Ray cluster to use.  [default: one started on this machine]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes on CPUs.  [default: 1; on Ray as many as have room]")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Papers at once in a worker on a CPU.  [default: its share of the usable cores]")
    ] = None,
    shard_rows: ShardRows = None,
    language: Language = None,
    missing_abstract: MissingAbstract = None,
    min_characters: MinCharacters = None,
    probabilities: Probabilities = None,
    max_failed_shards: Annotated[
        int | None, typer.Option(help="Stop when more shards have failed.  [default: 100]")
    ] = None,
    reuse: Annotated[
        list[str] | None, UrlOrPath(), typer.Option(help="Earlier night's OUT to take labels from; may be given again.")
    ] = None,
    max_fresh: Annotated[
        str | None,
        typer.Option(
            help="Stop before labelling (exit 4) if more papers have to be labelled afresh: a number, or a share "
            "such as 10%.  [default: no limit]",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool | None,
        typer.Option(
            "--replace",
            help="Replace the finished labels of another night in OUT, when the new ones are complete.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    escape: Escape = None,
    encoding: Encoding = None,
    date: Annotated[
        str | None,
        typer.Option(
            help="Date of the night, YYYY-MM-DD, and what {date} in paths stands for.  [default: the date that OUT is "
            "named by, else today, UTC]"
        ),
    ] = None,
    previous: Annotated[
        str | None,
        UrlOrPath(),
        typer.Option(
            help="OUT of an earlier night to compare label shares with. With {yesterday} in it, the last night that "
            "succeeded, up to 30 days back."
        ),
    ] = None,
    require_previous: Annotated[
        bool | None,
        typer.Option(
            "--require-previous/--no-require-previous",
            help="Fail the gates that compare with an earlier night (exit 4) when there is none.  [default: no]",
            show_default=False,
        ),
    ] = None,
    metrics_file: Annotated[Path | None, typer.Option(help="Prometheus text file to write at the end.")] = None,
    min_rows: Annotated[
        int | None, typer.Option(help="Fail (exit 4) if the input has fewer rows.  [default: 1]")
    ] = None,
    min_macro_f1: Annotated[float | None, typer.Option(help="Gate: macro F1 over unseen labelled papers.")] = None,
    min_mean_score: Annotated[float | None, typer.Option(help="Gate: mean score of all labels.")] = None,
    max_reject_rate: Annotated[float | None, typer.Option(help="Gate: rejected rows by rows.")] = None,
    max_not_finite_rate: Annotated[
        float | None,
        typer.Option(help="Fail (exit 4) if the model gives NaN for a larger share of papers.  [default: 0.1]"),
    ] = None,
    max_psi: Annotated[float | None, typer.Option(help="Gate: PSI against the validation data.")] = None,
    max_js_distance: Annotated[
        float | None, typer.Option(help="Gate: Jensen-Shannon distance from the validation data.")
    ] = None,
    max_psi_previous: Annotated[float | None, typer.Option(help="Gate: PSI against the previous night.")] = None,
    max_js_distance_previous: Annotated[
        float | None, typer.Option(help="Gate: Jensen-Shannon distance from the previous night.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Label a dump of papers; run again, it goes on where it stopped."""
    from specter_jobs.logs import logging_to
    from specter_jobs.night.run import run_night
    from specter_jobs.plan.config import NightConfig

    settings = NightConfig.load(
        config,
        {
            "dump": dump,
            "out": out,
            "bundle": bundle,
            "format": format_,
            "device": device,
            "precision": precision,
            "engine": engine,
            "ray_address": ray_address,
            "workers": workers,
            "threads": threads,
            "shard_rows": shard_rows,
            "language": language,
            "missing_abstract": missing_abstract,
            "min_characters": min_characters,
            "probabilities": probabilities,
            "max_failed_shards": max_failed_shards,
            "reuse": reuse or None,
            "max_fresh": max_fresh,
            "replace": replace,
            "paper_id_column": paper_id_column,
            "title_column": title_column,
            "abstract_column": abstract_column,
            "label_column": label_column,
            "delimiter": delimiter,
            "quote": quote,
            "escape": escape,
            "encoding": encoding,
            "date": date,
            "previous": previous,
            "require_previous": require_previous,
            "metrics_file": metrics_file,
            "gates": {
                "min_rows": min_rows,
                "min_macro_f1": min_macro_f1,
                "min_mean_score": min_mean_score,
                "max_reject_rate": max_reject_rate,
                "max_not_finite_rate": max_not_finite_rate,
                "max_psi": max_psi,
                "max_js_distance": max_js_distance,
                "max_psi_previous": max_psi_previous,
                "max_js_distance_previous": max_js_distance_previous,
            },
        },
    )
    console = error_console()
    with interruptible("what is finished is kept, run the same command again to go on"), logging_to(console):
        result = run_night(settings, console=console)
    if as_json:
        show_json(result.report | {"manifest": result.manifest}, in_files_too=True)
    else:
        show(*_summary(result.report, result.manifest, result.out), in_files_too=True)
    raise typer.Exit(result.exit_code)


def _summary(report: dict[str, Any], manifest: dict[str, Any], out: "Location") -> list[str]:
    from specter_batch.inputs.inventory import ignored_line
    from specter_jobs.plan.workload import reuse_sentences
    from specter_jobs.report.gates import describe_gate, failed_gates, inapplicable_gates
    from specter_jobs.report.night_report import truth_problem_sentence, undecided_sentence, unknown_labels_sentence

    rows, device, run = report["rows"], manifest["device"], manifest["this_run"]
    lines = [
        f"{rows['in']:,} rows: {rows['labelled']:,} labelled, {rows['reused']:,} reused, "
        f"{rows['rejected']:,} rejected, {rows['failed']:,} failed",
        f"on {device['device']} ({device['provider']}, {device['graph']}), "
        f"{run['papers']:,} papers in this run, {run['papers_per_second'] or 0:,} papers/s"
        + ("" if run["model_wait_share"] is None else f", the model waited {run['model_wait_share']:.0%} of the time"),
    ]
    lines += reuse_sentences(report["reuse"]) if report["reuse"] else []
    unknown = unknown_labels_sentence(report)
    if report["macro_f1"] is not None:
        lines.append(f"macro F1 {report['macro_f1']:.4f} over {report['scored_papers']:,} papers")
    lines += [f"warning: {unknown}"] if unknown else []
    if report["language_undecided"]:
        lines.append(undecided_sentence(report))
    if report["labels_not_read"]:
        lines.append(f"warning: {truth_problem_sentence(report['labels_not_read'])}")
    lines += [f"failed: {name}: {error}" for name, error in report["failed_shards"].items()]
    if ignored := ignored_line(report["ignored_inputs"]):
        lines.append(f"ignored: {ignored}")
    lines += [f"gate {describe_gate(gate)}" for gate in (*failed_gates(report), *inapplicable_gates(report))]
    lines.append(f"labels: {out / 'labels'}   report: {out / 'report.html'}")
    return lines
