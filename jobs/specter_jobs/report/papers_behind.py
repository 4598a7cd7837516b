"""The papers behind the figures of a night, for its page: they are chosen from the label files, without the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.errors import PaperSchemaError, StorageError
from specter_batch.metrics.f1 import Ints
from specter_batch.papers.parquet import open_parquet
from specter_batch.report.paper_choice import MAX_IN_GROUP, GroupLimits, PaperChooser
from specter_batch.report.paper_groups import (
    MAX_ID,
    MAX_TITLE,
    PaperGroup,
    PaperGroups,
    ShownPaper,
    anchor_of,
    chosen_groups,
    cut,
    fitting,
    left_out_sentences,
)
from specter_batch.storage.location import Location
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import OutputFile
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.plan.shards import InputFile
from specter_jobs.report.titles import Place, read_titles

SHOWN = ("paper_id", "true_label", "label", "runner_up", "score", "margin", "file", "row")
READ = (*SHOWN, "label_id", "seen_in_training")
# Rows of a label file that are decoded at once.
READ_ROWS = 65_536
MAX_PLACE = 90
MORE = "All papers: specter-batch show OUT --confused TRUE PREDICTED, --label LABEL or --rejected REASON."

Titles = Mapping[Place, tuple[str | None, str | None]]
# A row of a file of rejects, with the columns of `REJECT_SCHEMA`.
RejectRow = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NightFiles:
    """The files in which the papers of a night are.

    Attributes:
        out: Output folder of the night.
        entries: Ledger entries of the finished shards, in the plan's order.
        rejects: Files of rejected rows.
        inputs: The input files.
    """

    out: Location
    entries: Sequence[LedgerEntry]
    rejects: Sequence[OutputFile]
    inputs: Sequence[InputFile]


def night_papers(report: NightReport, files: NightFiles) -> PaperGroups:
    """Choose the papers that the page shows behind each cell, bar and reject reason.

    Args:
        report: The report of the night, which says how many papers there are in each group.
        files: The files of the night.
    """
    labels = report.labels
    cells = np.array(report.confusion, dtype=np.int64).reshape(len(labels), len(labels))
    chooser = PaperChooser(GroupLimits(cells=cells, labels=np.array(list(report.label_papers.values()), np.int64)))
    unread = sum(not _choose(chooser, files.out / entry.labels.name, labels) for entry in files.entries)
    rejected = _rejected(report.rejects_by_reason, files)
    tables = [best.rows()[0] for best in (chooser.cells, chooser.labels, chooser.errors)]
    places = {place for table in tables if table is not None for place in _places(table)}
    places |= {(row["file"], row["row"]) for rows in rejected.values() for row in rows}
    titles = read_titles(files.inputs, places)

    def titles_of(table: pa.Table) -> list[str | None]:
        ids = table["paper_id"].to_pylist()
        return [_title(titles, place, paper_id) for place, paper_id in zip(_places(table), ids, strict=True)]

    groups = fitting(
        [
            *chosen_groups(chooser, labels, titles=titles_of),
            *_reject_groups(rejected, report.rejects_by_reason, titles),
        ]
    )
    notes = [*left_out_sentences(chooser.limits), MORE]
    if unread:
        notes.append(f"Papers of {unread:,} label files are left out, because an earlier version wrote the files.")
    if places - titles.keys():
        notes.append("Titles that could not be read from the input are missing.")
    return PaperGroups(groups=groups, notes=notes)


def _choose(chooser: PaperChooser, path: Location, labels: Sequence[str]) -> bool:
    """Offer the papers of a label file to the chooser; return False if the file cannot be read or lacks columns."""
    try:
        with open_parquet(path) as parquet:
            if not set(READ) <= set(parquet.schema_arrow.names):
                return False
            for batch in parquet.iter_batches(READ_ROWS, columns=list(READ)):
                papers = pa.Table.from_batches([batch])
                margin = pc.fill_null(papers["margin"], float("nan")).to_numpy()
                chooser.add(
                    papers.select(SHOWN),
                    true=_true_ids(papers, labels),
                    predicted=papers["label_id"].to_numpy().astype(np.int64),
                    score=papers["score"].to_numpy(),
                    margin=margin,
                )
    except (PaperSchemaError, StorageError, pa.ArrowException, OSError):
        return False
    return True


def _true_ids(papers: pa.Table, labels: Sequence[str]) -> Ints:
    """Return the true label ids of the papers `(n,)`; -1 for papers that are not scored."""
    unseen = pc.fill_null(pc.equal(papers["seen_in_training"], False), False)
    ids = pc.index_in(papers["true_label"], pa.array(labels, pa.string()))
    return np.asarray(pc.fill_null(pc.if_else(unseen, ids, None), -1).to_numpy(), dtype=np.int64)


def _places(table: pa.Table) -> list[Place]:
    return list(zip(table["file"].to_pylist(), table["row"].to_pylist(), strict=True))


def _title(titles: Titles, place: Place, paper_id: str | None) -> str | None:
    """Return the title of a paper; None if another paper is at its place now."""
    found_id, title = titles.get(place, (None, None))
    return title if found_id == paper_id else None


def _rejected(sizes: Mapping[str, int], files: NightFiles) -> dict[str, list[RejectRow]]:
    """Return the first rejected rows of each reason, at most `MAX_IN_GROUP`."""
    kept: dict[str, list[RejectRow]] = {reason: [] for reason in sizes}

    def is_open(reason: str) -> bool:
        return len(kept.get(reason, [])) < min(MAX_IN_GROUP, sizes.get(reason, 0))

    with_rejects = [(entry.rejects, entry.rejects_by_reason) for entry in files.entries if entry.rejects]
    for file, reasons in [*with_rejects, *((file, sizes) for file in files.rejects)]:
        if any(is_open(reason) for reason in reasons):
            for row in _reject_rows(files.out / file.name):
                if is_open(row["reason"]):
                    kept[row["reason"]].append(row)
    return kept


def _reject_rows(path: Location) -> Iterable[RejectRow]:
    try:
        with open_parquet(path) as parquet:
            for batch in parquet.iter_batches(READ_ROWS):
                yield from batch.to_pylist()
    except (PaperSchemaError, StorageError, pa.ArrowException, OSError):
        return


def _reject_groups(
    rejected: Mapping[str, Sequence[RejectRow]],
    sizes: Mapping[str, int],
    titles: Titles,
) -> list[PaperGroup]:
    return [
        PaperGroup(
            anchor=anchor_of("reject", number),
            heading=f"Rejected: {reason}",
            order="the first ones of the input",
            back="rejects",
            papers=sizes[reason],
            shown=[
                ShownPaper(
                    paper_id=cut(row["paper_id"], MAX_ID),
                    title=cut(_title(titles, (row["file"], row["row"]), row["paper_id"]), MAX_TITLE),
                    place=cut(f"{row['file']}, row {row['row']}", MAX_PLACE),
                    detail=cut(row["detail"], MAX_PLACE),
                )
                for row in rows
            ],
        )
        for number, (reason, rows) in enumerate(rejected.items())
        if rows
    ]
