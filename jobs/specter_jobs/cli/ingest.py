"""The command that reads public dumps: ingest."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from specter_batch.argument_checks import UrlOrPath
from specter_batch.errors import ConfigError
from specter_batch.options import AbstractColumn, AsJson, LabelColumn, PaperIdColumn, TitleColumn, interruptible
from specter_batch.terminal import error_console, show, show_json
from specter_jobs.cli.options import Delimiter, Encoding, Escape, Quote
from specter_jobs.dumps.names import FormatName


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(ingest)


def ingest(
    format_: Annotated[FormatName, typer.Argument(metavar="FORMAT", help="The dump's format.")],
    source: Annotated[str, UrlOrPath(), typer.Argument(metavar="INPUT", help="The dump: file, folder or glob.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for papers, rejects and the account.")],
    year: Annotated[
        str | None, typer.Option(help="Only papers of 2020, 2015:2020, 2020: or :2010.", show_default=False)
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Field that becomes the label, as the format allows, or none.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Files read at once; the usable cores when not given.", show_default=False)
    ] = None,
    paper_id_column: PaperIdColumn = None,
    title_column: TitleColumn = None,
    abstract_column: AbstractColumn = None,
    label_column: LabelColumn = None,
    year_column: Annotated[
        str | None, typer.Option(help="Column of the years; found by name when not given.", show_default=False)
    ] = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    escape: Escape = None,
    encoding: Encoding = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace finished papers of another ingest in OUT.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a public dump into canonical papers; run again, it goes on where it stopped."""
    from specter_batch.model.device import usable_cpus
    from specter_batch.papers.columns import PaperColumns
    from specter_batch.start import settle
    from specter_jobs.dumps.csv.layout import TableLayout
    from specter_jobs.dumps.formats import Format
    from specter_jobs.dumps.ingest import IngestRequest
    from specter_jobs.dumps.ingest import ingest as ingest_dump
    from specter_jobs.dumps.readers.tables import TableColumns

    papers = PaperColumns(paper_id=paper_id_column, title=title_column, abstract=abstract_column, label=label_column)
    request = IngestRequest(
        format=Format(
            name=format_,
            columns=TableColumns(papers=papers, year=year_column),
            layout=TableLayout.of(delimiter=delimiter, quote=quote, escape=escape, encoding=encoding),
        ),
        source=source,
        out=out,
        label=label,
        years=_years(year),
        replace=replace,
        workers=workers or usable_cpus(),
    )
    with interruptible("what is finished is kept, run the same command again to go on"):
        result = ingest_dump(request, console=error_console())
        settle(result.exit_code)
    if as_json:
        show_json(result.account, in_files_too=True)
    else:
        show(*_summary(result.account, out), in_files_too=True)
    raise typer.Exit(result.exit_code)


def _years(text: str | None) -> tuple[int | None, int | None] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{4})|(\d{4})?:(\d{4})?", text.strip(), re.ASCII)
    only, first, last = (int(part) if part else None for part in found.groups()) if found else (None, None, None)
    if only is not None:
        return only, only
    if (first is None and last is None) or (first is not None and last is not None and first > last):
        raise ConfigError(f"--year {text}: expected 2020, 2015:2020, 2020: or :2010")
    return first, last


def _summary(account: dict[str, Any], out: Path) -> list[str]:
    from specter_batch.inputs.inventory import ignored_line

    records, run, files = account["records"], account["this_run"], account["files"]
    lines = [
        f"{_some(records['read'], 'record')} in {_some(files['finished'], 'file')}: "
        f"{_some(records['papers'], 'paper')}, {records['rejected']:,} rejected, "
        f"{records['filtered']:,} filtered out, {_some(records['tombstones'], 'tombstone')}",
    ]
    if account["rejects_by_reason"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in account["rejects_by_reason"].items())
        lines.append(f"rejects: {reasons}")
    if account["unusable_labels"]:
        lines.append(
            f"warning: {_some(account['unusable_labels'], 'paper')} kept without a label, because theirs is neither "
            "text nor a whole number; --label-column none reads no labels"
        )
    if run["files"]:
        speed = f", {run['mb_per_second']:,} MB/s" if run["mb_per_second"] else ""
        read = (run["text_bytes"] or run["bytes"]) / 1e6
        lines.append(f"{_some(run['files'], 'file')} read: {read:,.1f} MB in {run['seconds']:,} s{speed}")
    else:
        lines.append("nothing to read anew")
    lines += [f"failed: {name}: {error}" for name, error in account["failed_files"].items()]
    if ignored := ignored_line(account["ignored_files"]):
        lines.append(f"ignored: {ignored}")
    lines.append(f"papers: {out / 'papers'}   account: {out / 'ingest.json'}")
    return lines


def _some(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
