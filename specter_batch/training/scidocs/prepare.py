"""Prepares SciDocs for training: joins its papers with their labels, in the official splits, and counts all rows."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.papers.language import EnglishFilter
from specter_batch.papers.parquet import write_table
from specter_batch.storage.files import write_json, written_whole
from specter_batch.terminal import progress_bars
from specter_batch.training.scidocs.labels import SPLITS, TASKS, TaskLabels, read_labels
from specter_batch.training.scidocs.metadata import METADATA_FILE, Drop, Metadata, read_metadata

FETCH = "aws s3 sync --no-sign-request s3://ai2-s2-research-public/specter/scidocs/"
ACCOUNT_FILE, DROPPED_FILE = "scidocs.json", "dropped.parquet"
# The published numbers of papers after each step of the same cleaning of the same file.
PUBLISHED = {"papers": 48_473, "with_both_texts": 37_556, "english": 37_227}

SPLIT_SCHEMA = pa.schema(
    [
        ("paper_id", pa.string()),
        ("title", pa.string()),
        ("abstract", pa.string()),
        ("label", pa.string()),
        ("class_label", pa.int32()),
    ]
)
DROPPED_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("paper_id", "reason", "detail", *TASKS)]  # in each task: its split, if any
)

Labels = Mapping[str, TaskLabels]  # by task


def prepare_scidocs(
    data: Path,
    out: Path,
    *,
    language: Literal["en", "any"],
    console: Console,
    published: Mapping[str, int] = PUBLISHED,
) -> dict[str, Any]:
    """Join SciDocs' papers with their MeSH and MAG labels, split as published.

    Args:
        data: Folder of `paper_metadata_mag_mesh.json`, `mesh/*.csv` and `mag/*.csv`.
        out: New or empty folder for `mesh/*.parquet`, `mag/*.parquet`, `dropped.parquet` and `scidocs.json`; it is
            there when all is written, and not before.
        language: `en` drops papers that are not English; `any` turns language detection off.
        console: Console on which progress is shown, if it is a terminal.
        published: The counts of papers that the account is compared with.

    Returns:
        What `scidocs.json` holds.

    Raises:
        ConfigError: `out` is not empty.
        PaperSchemaError: A file is missing or wrong, or a split keeps no paper.
        LabelError: A class is not one of the task's.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: expected a new or empty folder; give another one, or remove this one")
    _check_files(data)
    labels = {task: read_labels(data / task, names) for task, names in TASKS.items()}
    with _progress(console) as progress, progress.open(data / METADATA_FILE, "rb", description="SciDocs") as stream:
        english = EnglishFilter() if language == "en" else None
        metadata = read_metadata(stream, where=str(data / METADATA_FILE), english=english)
    dropped = metadata.dropped | _unknown(labels, metadata)
    repeats = [drop for of_task in labels.values() for rows in of_task.repeats.values() for _, drop in rows]
    counts = _paper_counts(metadata, language)
    account = {
        "metadata": counts,
        "published": dict(published),
        "differs_from_published": [name for name, n in counts.items() if n is not None and n != published[name]],
        "language": language,
        "dropped": _by_reason([*dropped.values(), *repeats]),
        "splits": {
            task: {split: _split_counts(f"{data / task / split}.csv", of_task, split, dropped) for split in SPLITS}
            for task, of_task in labels.items()
        },
    }
    with _whole_folder(out) as folder:
        for task, of_task in labels.items():
            for split, classes in of_task.splits.items():
                _write_table(folder / task / f"{split}.parquet", _split_table(task, classes, metadata))
        _write_table(folder / DROPPED_FILE, _dropped_table(dropped, labels))
        write_json(folder / ACCOUNT_FILE, account)
    return account


def _check_files(data: Path) -> None:
    """Check that all seven files exist before any is read.

    Raises:
        PaperSchemaError: The folder or files are missing; the message names them all.
    """
    if not data.is_dir():
        raise PaperSchemaError(f"{data}: no such folder; fetch SciDocs into it: {FETCH} {data}")
    expected = [METADATA_FILE, *(f"{task}/{split}.csv" for task in TASKS for split in SPLITS)]
    missing = [name for name in expected if not (data / name).is_file()]
    if missing:
        raise PaperSchemaError(f"{data}: {', '.join(missing)} not found; fetch what is missing: {FETCH} {data}")


def _unknown(labels: Labels, metadata: Metadata) -> dict[str, Drop]:
    """Return the labelled ids that the metadata do not have."""
    splits = [classes for of_task in labels.values() for classes in of_task.splits.values()]
    labelled = [paper_id for classes in splits for paper_id in classes]
    unknown = Drop(reason="unknown_id", detail=f"labelled, but not in {METADATA_FILE}")
    return dict.fromkeys((i for i in labelled if i not in metadata.texts and i not in metadata.dropped), unknown)


def _paper_counts(metadata: Metadata, language: Literal["en", "any"]) -> dict[str, int | None]:
    """Count the papers of the metadata, labelled or not; `english` is None if language detection is off."""
    foreign = sum(drop.reason == "not_english" for drop in metadata.dropped.values())
    return {
        "papers": len(metadata.texts) + len(metadata.dropped),
        "with_both_texts": len(metadata.texts) + foreign,
        "english": len(metadata.texts) if language == "en" else None,
    }


def _split_counts(file: str, labels: TaskLabels, split: str, dropped: Mapping[str, Drop]) -> dict[str, Any]:
    classes, repeats = labels.splits[split], [drop for _, drop in labels.repeats[split]]
    reasons = _by_reason([*repeats, *(dropped[paper_id] for paper_id in classes if paper_id in dropped)])
    rows = len(classes) + len(repeats)
    kept = rows - sum(reasons.values())
    if not kept:
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise PaperSchemaError(
            f"{file}: none of its {rows} papers can be used ({listed}); "
            f"are these the labels of the papers in {METADATA_FILE}? Fetch both again"
        )
    return {"rows": rows, "kept": kept, "dropped": reasons}


def _by_reason(drops: Iterable[Drop]) -> dict[str, int]:
    return dict(sorted(Counter(drop.reason for drop in drops).items()))


def _split_table(task: str, classes: Mapping[str, int], metadata: Metadata) -> pa.Table:
    kept = [paper_id for paper_id in classes if paper_id in metadata.texts]
    columns = [
        kept,
        [metadata.texts[paper_id][0] for paper_id in kept],
        [metadata.texts[paper_id][1] for paper_id in kept],
        [TASKS[task].names[classes[paper_id]] for paper_id in kept],
        [classes[paper_id] for paper_id in kept],
    ]
    return pa.table(columns, schema=SPLIT_SCHEMA)


def _dropped_table(dropped: Mapping[str, Drop], labels: Labels) -> pa.Table:
    """List dropped papers, each with its split in either task, then the rows of papers that stood there already."""
    split_of = {
        task: {paper_id: split for split, classes in of_task.splits.items() for paper_id in classes}
        for task, of_task in labels.items()
    }
    rows = [
        {"paper_id": paper_id, "reason": drop.reason, "detail": drop.detail}
        | {task: splits.get(paper_id) for task, splits in split_of.items()}
        for paper_id, drop in dropped.items()
    ]
    rows += [
        {"paper_id": paper_id, "reason": drop.reason, "detail": drop.detail, task: split}
        for task, of_task in labels.items()
        for split, repeats in of_task.repeats.items()
        for paper_id, drop in repeats
    ]
    return pa.Table.from_pylist(rows, schema=DROPPED_SCHEMA)


def _write_table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(exist_ok=True)
    with written_whole(path) as partial:
        write_table(partial, table)


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out`, which becomes `out` when the block ends well."""
    out = out.resolve()
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed run
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return progress_bars(console, *columns)
