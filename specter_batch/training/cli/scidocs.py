"""The command that makes SciDocs ready to train on."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from specter_batch.options import AsJson, interruptible
from specter_batch.terminal import error_console, show, show_json


def prepare_scidocs(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder that SciDocs was downloaded into.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the splits as parquet.")],
    language: Annotated[
        Literal["en", "any"], typer.Option(help="en drops papers in other languages; any keeps all.")
    ] = "en",
    as_json: AsJson = False,
) -> None:
    """Join SciDocs' papers with their MeSH and MAG labels, in the official splits."""
    from specter_batch.training.scidocs.prepare import prepare_scidocs as run_preparation

    with interruptible("nothing was written, run the same command again"):
        account = run_preparation(data, out, language=language, console=error_console())
    if as_json:
        show_json(account, in_files_too=True)
    else:
        show(*_summary(account, out), in_files_too=True)


def _summary(account: dict[str, Any], out: Path) -> list[str]:
    names = {
        "papers": "papers in the metadata",
        "with_both_texts": "with title and abstract",
        "english": "of these in English",
    }
    found, published = account["metadata"], account["published"]
    counted = [name for name in names if found[name] is not None]
    lines = [f"{names[name]:<24}{found[name]:>8,}   published {published[name]:>6,}" for name in counted]
    if account["differs_from_published"]:
        differing = ", ".join(names[name] for name in account["differs_from_published"])
        lines.append(f"these data differ from the published ones in: {differing}")
    for task, splits in account["splits"].items():
        for split, of_split in splits.items():
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in of_split["dropped"].items()) or "none"
            lines.append(
                f"{task:<5}{split:<6}{of_split['rows']:>7,} rows, {of_split['kept']:>6,} kept   dropped: {reasons}"
            )
    lines.append(f"dropped papers: {out / 'dropped.parquet'}   account: {out / 'scidocs.json'}")
    mesh = out / "mesh"
    lines.append(f"next: specter-batch train {mesh}/train.parquet --val {mesh}/val.parquet --labels mesh --out RUN")
    return lines
