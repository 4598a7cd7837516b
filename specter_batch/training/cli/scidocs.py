"""The command that prepares SciDocs for training: prepare-scidocs."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from specter_batch.options import JsonOutput, Language
from specter_batch.options.command import command, interruptible
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import error_console, show, show_json


class ScidocsOptions(JsonOutput):
    """Options of `prepare-scidocs`."""

    data: Annotated[LocalPath, Option(argument="DATA")] = Field(description="Folder that SciDocs was downloaded into.")
    out: Annotated[LocalPath, Option(argument="OUT")] = Field(description="New folder for the splits as parquet.")
    language: Language = "en"


@command("specter-batch prepare-scidocs scidocs/data scidocs/papers")
def prepare_scidocs(options: ScidocsOptions) -> None:
    """Join SciDocs' papers with their MeSH and MAG labels, in the official splits."""
    from specter_batch.training.scidocs.prepare import prepare_scidocs as run_preparation

    with interruptible("nothing was written, run the same command again"):
        account = run_preparation(options.data, options.out, language=options.language, console=error_console())
    if options.as_json:
        show_json(account, in_files_too=True)
    else:
        show(*_summary(account, options.out), in_files_too=True)


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
