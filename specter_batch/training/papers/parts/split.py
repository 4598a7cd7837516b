"""Splits labelled papers into train.parquet, val.parquet and test.parquet, so that no test paper helps in training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from specter_batch import __version__
from specter_batch.display import storable
from specter_batch.errors import ConfigError
from specter_batch.metrics.f1 import Ints
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.complete_input import complete_inventory
from specter_batch.papers.parquet import open_parquet, write_table
from specter_batch.storage.files import file_sha256, write_json
from specter_batch.storage.folder_swap import replace_folder, restore_folder
from specter_batch.storage.output_claim import mark_output
from specter_batch.storage.scratch import scratch_beside
from specter_batch.terminal import progress_bars
from specter_batch.training.papers.parts.account import (
    PARTS,
    LabelCounts,
    PartFile,
    SplitAccount,
    SplitSettings,
    Together,
)
from specter_batch.training.papers.parts.assignment import Parts, assign
from specter_batch.training.papers.parts.claim import claim_split
from specter_batch.training.papers.parts.groups import components
from specter_batch.training.papers.parts.near_duplicates import near_pairs
from specter_batch.training.papers.parts.notes import split_notes
from specter_batch.training.papers.parts.survey import Survey, survey
from specter_batch.training.papers.parts.write import common_schema, write_parts

ACCOUNT_FILE, LEFT_OUT_FILE = "split.json", "left_out.parquet"


def split_papers(
    papers: Path,
    out: Path,
    settings: SplitSettings,
    *,
    columns: PaperColumns | None = None,
    replace: bool = False,
    console: Console | None = None,
) -> SplitAccount:
    """Split labelled papers into parts to train on, to validate on and to test on.

    Papers with equal or nearly equal texts, and papers of one group, are in one part. Each part gets its share of each
    label, as far as such papers allow it. The folder is complete when it is there: it is swapped in at the end.

    Args:
        papers: The labelled papers: a file, a folder or a glob.
        out: Folder for the parquet file of each part, `left_out.parquet` and `split.json`.
        settings: Settings of the split.
        columns: Column names of the papers; detected when None.
        replace: True to replace another split in `out`.
        console: Gets a progress bar if it is a terminal; nothing is shown when None.

    Raises:
        ConfigError: The folder holds other files or another split, or a part would be empty.
        PaperSchemaError: The input cannot be read as labelled papers.
        LabelError: No paper has a label.
    """
    columns = columns or PaperColumns()
    inventory, source = complete_inventory(papers), storable(str(papers))
    inputs = {listed.name: file_sha256(Path(str(listed.path))) for listed in inventory.files}
    schema = common_schema(inventory)
    restore_folder(out)
    claim_split(out, source=source, inputs=inputs, settings=settings, columns=columns, replace=replace)
    out.resolve().parent.mkdir(parents=True, exist_ok=True)
    total = sum(open_parquet(listed.path).metadata.num_rows for listed in inventory.files)
    bars = progress_bars(
        console, TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )
    with bars as progress, scratch_beside(out.resolve(), "split") as scratch:

        def stage(name: str) -> Callable[[int], None]:
            task = progress.add_task(name, total=total)
            return lambda rows: progress.advance(task, rows)

        found = survey(
            inventory,
            columns,
            source=source,
            rows=total,
            group_columns=settings.group_columns,
            separator=settings.group_separator,
            advance=stage("read papers"),
        )
        parts, together = divided(found, settings, source=source)
        folder = scratch / "split"
        folder.mkdir()
        mark_output(folder, "split")
        of_rows = np.full(len(found.usable), -1, dtype=np.int8)
        of_rows[found.usable] = parts
        written = [name for name, share in settings.shares.items() if share > 0]
        write_parts(inventory, schema, of_rows, folder, written=written, advance=stage("write parts"))
        write_table(folder / LEFT_OUT_FILE, found.left_out)
        account = _account(
            found, parts, together, settings, folder=folder, source=source, inputs=inputs, columns=columns
        )
        write_json(folder / ACCOUNT_FILE, account.model_dump(mode="json"))
        replace_folder(folder, out.resolve())
    return account


def divided(found: Survey, settings: SplitSettings, *, source: str) -> tuple[Parts, Together]:
    """Return the number of the part of each paper, `(n_papers,)`, and what stays together.

    Raises:
        ConfigError: A part would be empty.
    """
    # Equal texts have equal signatures, so only one paper of each text is compared with others.
    texts, first, text_of = np.unique(found.hashes, return_index=True, return_inverse=True)
    compared = found.signatures[first] if settings.near_duplicates < 1 else found.signatures[:0]
    one, other = near_pairs(compared, similarity=settings.near_duplicates)
    papers = np.arange(len(found.labels))
    sets = components(
        len(papers), keys=[(papers, text_of.astype(np.uint64)), *found.groups], pairs=(first[one], first[other])
    )
    shares = np.array([settings.shares[name] for name in PARTS])
    parts = assign(found.labels, sets, shares, seed=settings.seed)
    sizes = np.bincount(sets)
    for number, name in enumerate(PARTS):
        if shares[number] > 0 and not (parts == number).any():
            raise ConfigError(
                f"{source}: no paper is left for {name}.parquet: {len(papers):,} papers are {len(sizes):,} sets that "
                f"stay together, the largest of {int(sizes.max()):,}; give more papers"
                f"{'' if name == 'train' else f', a larger --{name}'}"
                f"{', or another --group-column' if settings.group_columns else ''}"
            )
    in_groups = np.concatenate([rows for rows, _ in found.groups]) if found.groups else None
    together = Together(
        equal_texts=len(papers) - len(texts),
        near_equal_texts=len(np.unique(np.minimum(one, other) * len(texts) + np.maximum(one, other))),
        without_group=None if in_groups is None else len(papers) - len(np.unique(in_groups)),
        sets=len(sizes),
        largest_set=int(sizes.max()),
    )
    return parts, together


def _account(
    found: Survey,
    parts: Parts,
    together: Together,
    settings: SplitSettings,
    *,
    folder: Path,
    source: str,
    inputs: dict[str, str],
    columns: PaperColumns,
) -> SplitAccount:
    counts: Ints = np.stack(
        [np.bincount(found.labels[parts == number], minlength=len(found.names)) for number in range(3)]
    )
    labels = tuple(
        LabelCounts(label=name, papers=int(of_label.sum()), **dict(zip(PARTS, map(int, of_label), strict=True)))
        for name, of_label in zip(found.names, counts.T, strict=True)
    )
    reasons, rows = np.unique(found.left_out["reason"].to_pylist(), return_counts=True)
    files = {name: folder / f"{name}.parquet" for name in PARTS}
    ordered = tuple(sorted(labels, key=lambda one: (-one.papers, one.label)))
    return SplitAccount(
        papers=source,
        inputs=inputs,
        settings=settings,
        columns={name: getattr(columns, name) for name in ("paper_id", "title", "abstract", "label")},
        parts={
            name: PartFile(
                share=settings.shares[name],
                papers=int((parts == number).sum()),
                sha256=file_sha256(files[name]) if files[name].exists() else None,
            )
            for number, name in enumerate(PARTS)
        },
        labels=ordered,
        together=together,
        rows=len(found.usable),
        left_out=dict(zip(map(str, reasons), map(int, rows), strict=True)),
        notes=(*found.notes, *split_notes(ordered, together, settings, papers=len(parts), source=source)),
        version=__version__,
    )
