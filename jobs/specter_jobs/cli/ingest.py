"""The command that reads public dumps: ingest."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from pydantic import Field

from specter_batch.display import ignored_line
from specter_batch.errors import ConfigError
from specter_batch.options import MAX_WORKERS, FormatName, InputColumns, JsonOutput, TextFiles
from specter_batch.options.command import command, interruptible
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath, PathTextOrUrl
from specter_batch.terminal import error_console, show, show_json
from specter_jobs.output.names import ACCOUNT_FILE, PAPERS

if TYPE_CHECKING:
    from specter_jobs.dumps.account_model import IngestAccount


class IngestOptions(JsonOutput, TextFiles, InputColumns):
    """The options of `ingest`."""

    panel: ClassVar[str] = "Input"

    format: Annotated[FormatName, Option(argument="FORMAT")] = Field(description="Format of the dump.")
    source: Annotated[PathTextOrUrl, Option(argument="INPUT")] = Field(
        description="The dump: a file, a folder, a glob or a URL."
    )
    out: Annotated[LocalPath, Option(argument="OUT")] = Field(
        description="Folder for papers, rejects and ingest.json, which counts the records by outcome."
    )
    year: Annotated[str | None, Option(metavar="YEARS", default="all years")] = Field(
        default=None, description="Publication years of the papers to keep: 2020, 2015:2020, 2020: or :2010."
    )
    label: Annotated[str | None, Option(metavar="FIELD", default="the format's own, if it has one")] = Field(
        default=None, description="Field of the dump that becomes the label, or `none`."
    )
    workers: Annotated[int | None, Option(unit="processes", default="the usable cores")] = Field(
        default=None, ge=1, le=MAX_WORKERS, description="Number of files to read at once, each in a process of its own."
    )
    year_column: Annotated[str | None, Option(metavar="NAME", default="year or publication_year")] = Field(
        default=None, description="Column of the input that holds the publication years."
    )
    replace: Annotated[bool, Option(negative=False)] = Field(
        default=False,
        description="Replace the finished papers of another ingest in OUT. Without it such a run is refused.",
    )


@command(
    "specter-batch ingest jsonl papers.jsonl papers",
    "specter-batch ingest csv papers.csv papers --title-column Title --delimiter tab",
)
def ingest(options: IngestOptions) -> None:
    """Turn a public dump into parquet files of papers. If it is interrupted, run it again to resume."""
    from specter_batch.cpus import usable_cpus
    from specter_batch.start import settle
    from specter_jobs.dumps.ingest import IngestRequest
    from specter_jobs.dumps.ingest import ingest as ingest_dump
    from specter_jobs.dumps.readers import Format
    from specter_jobs.dumps.records import TableColumns, TableLayout

    request = IngestRequest(
        format=Format(
            name=options.format,
            columns=TableColumns(papers=options.columns, year=options.year_column),
            layout=TableLayout.of(
                delimiter=options.delimiter, quote=options.quote, escape=options.escape, encoding=options.encoding
            ),
        ),
        source=str(options.source),
        out=options.out,
        label=options.label,
        years=_years(options.year),
        replace=options.replace,
        workers=options.workers or usable_cpus(),
    )
    with interruptible("finished files are kept; run the same command again to resume"):
        result = ingest_dump(request, console=error_console())
        settle(result.exit_code)
    if options.as_json:
        show_json(result.account.model_dump(mode="json"), in_files_too=True)
    else:
        show(*_summary(result.account, options.out), in_files_too=True)
    raise typer.Exit(result.exit_code)


def _years(text: str | None) -> tuple[int | None, int | None] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{4})|(\d{4})?:(\d{4})?", text.strip(), re.ASCII)
    only, first, last = (int(part) if part else None for part in match.groups()) if match else (None, None, None)
    if only is not None:
        return only, only
    if (first is None and last is None) or (first is not None and last is not None and first > last):
        raise ConfigError(f"--year {text}: expected 2020, 2015:2020, 2020: or :2010")
    return first, last


def _summary(account: "IngestAccount", out: Path) -> list[str]:
    records, run, files = account.records, account.this_run, account.files
    lines = [
        f"{_some(records.read, 'record')} in {_some(files.finished, 'file')}: "
        f"{_some(records.papers, 'paper')}, {records.rejected:,} rejected, "
        f"{records.filtered:,} filtered out, {_some(records.tombstones, 'tombstone')}",
    ]
    if account.rejects_by_reason:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in account.rejects_by_reason.items())
        lines.append(f"rejects: {reasons}")
    if account.unusable_labels:
        lines.append(
            f"warning: {_some(account.unusable_labels, 'paper')} kept without a label, because theirs is neither "
            "text nor a whole number; --label-column none reads no labels"
        )
    if run.files:
        speed = f", {run.mb_per_second:,} MB/s" if run.mb_per_second else ""
        read = (run.text_bytes or run.bytes) / 1e6
        lines.append(f"{_some(run.files, 'file')} read: {read:,.1f} MB in {run.seconds:,} s{speed}")
    else:
        lines.append("nothing to read anew")
    lines += [f"failed: {name}: {error}" for name, error in account.failed_files.items()]
    if ignored := ignored_line(account.ignored_files):
        lines.append(f"ignored: {ignored}")
    lines.append(f"papers: {out / PAPERS}   account: {out / ACCOUNT_FILE}")
    return lines


def _some(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
