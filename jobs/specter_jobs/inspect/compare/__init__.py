"""Compares two nights: which labels changed, and what changed each of them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.errors import ConfigError, ShardError, UsageError
from specter_batch.storage.location import Location
from specter_jobs.inspect.compare.changes import (
    CAUSES,
    CHANGED_SCHEMA,
    COMPARED,
    NEAR_TIE_MARGIN,
    SIDES,
    UNCHANGED,
    WITHOUT_LABEL,
    Changes,
    paired_rows,
)
from specter_jobs.inspect.compare.counts import CauseCount, ComparedNight, ComparisonCounts, Transition
from specter_jobs.inspect.frames import Kind, check_kind, frame
from specter_jobs.inspect.night_folder import NightFolder, open_night, place_given
from specter_jobs.inspect.night_papers import NightPapers, template_of
from specter_jobs.inspect.night_rows import NightRows
from specter_jobs.inspect.row_schema import FAILED
from specter_jobs.output.folder import temporary_folder

# How many of the most frequent changes from one label to another are listed.
MOST_TRANSITIONS = 10


@dataclass(frozen=True, kw_only=True)
class NightComparison:
    """The result of `compare_nights`.

    Attributes:
        counts: What became of the papers.
        changed: The changed papers, of the kind of table that was asked for: a row for each, with its cause, and its
            status, label, score, margin and place in both nights.
    """

    counts: ComparisonCounts
    changed: Any


def compare_nights(
    before: str | Location,
    now: str | Location,
    *,
    papers: str | Location | None = None,
    near_tie: float = NEAR_TIE_MARGIN,
    as_: Kind = "pandas",
) -> NightComparison:
    """Compare two nights paper by paper, and give each changed label exactly one cause.

    Papers are joined by their id. The first of these causes that applies is the cause of a change:

    * `new`, `gone`: the paper has a row in one of the nights only.
    * `rejected_now`, `rejected_before`, `failed_now`, `failed_before`: it has a label in one of the nights only.
    * `text_changed`: the title or the abstract is not the same.
    * `model_changed`: another bundle labelled the same text.
    * `near_tie`: the bundle is the same. In each night the other night's label was the runner-up, by a margin below
      `near_tie`. Rounding, another graph or another device is enough to swap such labels.
    * `graph_changed`: the bundle is the same, and another graph or kind of device labelled the text.
    * `unexplained`: text and model are the same. `specter-batch verify` shows whether files were changed.

    Args:
        before: Output folder of the earlier night, or its URL.
        now: Output folder of the later night, or its URL.
        papers: Present place of the papers of the nights, for their titles. The default is the place from which each
            night read them.
        near_tie: Margin below which a label is nearly a tie: top probability minus second.
        as_: The kind of table for the changed papers: `pandas`, `polars` or `arrow`.

    Raises:
        ConfigError: A folder holds no night.
        BusyError: A job is still writing a night.
        ShardError: A file of a night is missing or damaged.
        UsageError: The package for `as_` is not installed.
        TypeError: A place is neither a path nor a URL.
    """
    check_kind(as_)
    if as_ == "batches":
        raise UsageError("as_='batches': a comparison is read at once; use one of pandas, polars, arrow")
    places = (place_given(before, "before"), place_given(now, "now"))
    place = None if papers is None else place_given(papers, "papers")
    with compared(*places, papers=place, near_tie=near_tie) as comparison:
        table = frame(comparison.changed(), CHANGED_SCHEMA, as_)
        return NightComparison(counts=comparison.counts(), changed=table)


class Comparison:
    """Two nights that were joined. Made by `compared`."""

    def __init__(self, before: "_Side", now: "_Side", changes: Changes, *, near_tie: float) -> None:
        self._sides = (before, now)
        self._changes = changes
        self._near_tie = near_tie

    def counts(self) -> ComparisonCounts:
        """Return what became of the papers, after checking that the numbers add up.

        Raises:
            ShardError: They do not.
        """
        found = self._changes.counts()
        papers = {cause: number for cause, number, *_ in found}
        labelled = [sum(row[3] for row in found), sum(row[4] for row in found)]
        for side, rows, labels in zip(self._sides, self._changes.rows(), labelled, strict=True):
            if (rows, labels) != (side.night.rows, side.labelled):
                raise ShardError(
                    f"{side.night.out}: {rows} of {side.night.rows} rows and {labels} of {side.labelled} labels were "
                    "compared; please report this"
                )
        near_ties = {cause: number for cause, _, number, *_ in found}
        causes = {cause: CauseCount(papers=papers.get(cause, 0), near_ties=near_ties.get(cause, 0)) for cause in CAUSES}
        return ComparisonCounts(
            before=self._sides[0].described(),
            now=self._sides[1].described(),
            unchanged=papers.get(UNCHANGED, 0),
            without_label=papers.get(WITHOUT_LABEL, 0),
            changed=sum(cause.papers for cause in causes.values()),
            causes=causes,
            transitions=tuple(
                Transition(before=before, now=now, papers=papers)
                for before, now, papers in self._changes.transitions(MOST_TRANSITIONS)
            ),
            near_tie_margin=self._near_tie,
            notes=tuple(self._notes(causes)),
        )

    def changed(self, *, first: int | None = None) -> Iterator[pa.Table]:
        """Yield the changed papers with their titles as tables of `CHANGED_SCHEMA`; see `Changes.changed`."""
        for table in self._changes.changed(first=first):
            titles = np.full(len(table), None, object)
            in_now = table["now_status"].is_valid().to_numpy()
            for side, name, mask in zip(self._sides, SIDES, (~in_now, in_now), strict=True):
                part = table.filter(pa.array(mask))
                if len(part):
                    titles[mask] = side.titles(part, name)
            named = table.append_column("title", pa.array(titles, pa.string()))
            for side, name in zip(self._sides, SIDES, strict=True):
                at = named.column_names.index(f"{name}_file")
                named = named.set_column(at, f"{name}_file", side.file_names(named[f"{name}_file"]))
            yield named.select(CHANGED_SCHEMA.names).cast(CHANGED_SCHEMA)

    def _notes(self, causes: Mapping[str, CauseCount]) -> Iterator[str]:
        before, now = self._sides
        for side in self._sides:
            if side.without_id:
                yield (
                    f"{side.night.out}: {side.without_id:,} rows of failed shards have no id here, because the papers "
                    "cannot be read; their papers count as new or gone (`--papers FOLDER` names the place)"
                )
        both = causes["text_changed"].papers
        if before.template and now.template and before.template != now.template:
            yield "the bundles join title and abstract in different ways, so changes of texts cannot be told apart"
        elif both and before.night.fingerprint != now.night.fingerprint and not self._changes.same_texts():
            yield "no paper has the same text in both nights; perhaps the bundles join title and abstract differently"


@contextmanager
def compared(
    before: Location, now: Location, *, papers: Location | None = None, near_tie: float = NEAR_TIE_MARGIN
) -> Iterator[Comparison]:
    """Join two nights; see `compare_nights`. The join uses TMPDIR if it does not fit into memory."""
    earlier, later = _Side(before, papers), _Side(now, papers)
    sides = (earlier, later)
    templates = {side.template for side in sides} - {None}
    models, bundles = ({getattr(side.night, name) for side in sides} for name in ("model", "fingerprint"))
    with (
        temporary_folder(None) as scratch,
        paired_rows(
            scratch,
            earlier.rows(),
            later.rows(),
            near_tie=near_tie,
            compares_texts=len(templates) < 2,
            other_bundle=len(bundles) > 1,
            other_model=len(models) > 1,
        ) as changes,
    ):
        yield Comparison(earlier, later, changes, near_tie=near_tie)


class _Side:
    """One of the two nights.

    Args:
        place: Its output folder.
        papers: Present place of its papers; None for the place from which it read them.
    """

    def __init__(self, place: Location, papers: Location | None) -> None:
        self.night: NightFolder = open_night(place)
        self._rows = NightRows(self.night)
        try:
            self._papers = NightPapers(self.night, papers, metadata=self._rows.metadata)
        except ConfigError:  # the papers of the other night
            self._papers = NightPapers(self.night, metadata=self._rows.metadata)
        self.template = template_of(self.night, self._rows.metadata)
        self.labelled = sum(shard.entry.labels.rows for shard in self.night.shards if shard.entry)
        self.without_id = 0
        self._numbers: dict[str, int] = {}

    def rows(self) -> Iterator[pa.Table]:
        """Yield the rows with what is compared, and the number of the file in its place."""
        names = ["paper_id", *COMPARED]
        for table in self._rows.tables(names):
            rows = table
            failed = pc.equal(table["status"].cast(pa.string()), FAILED)
            if len(table) and pc.any(failed).as_py():
                rows = self._papers.with_papers(table)
                self.without_id += pc.sum(pc.and_(failed, rows["paper_id"].is_null())).as_py()
            names_of_files = rows["file"].cast(pa.string())
            for name in names_of_files.unique().to_pylist():
                self._numbers.setdefault(name, len(self._numbers))
            known = pa.array(list(self._numbers), pa.string())
            at = rows.column_names.index("file")
            rows = rows.set_column(at, "file", pc.index_in(names_of_files, known))
            yield rows.select(names).set_column(1, "status", rows["status"].cast(pa.string()))

    def file_names(self, numbers: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the names of files by their numbers."""
        return pa.chunked_array([pa.array(list(self._numbers), pa.string()).take(numbers.combine_chunks())])

    def titles(self, changed: pa.Table, side: str) -> list[str | None]:
        """Return the titles of changed papers that have a row in this night."""
        columns: Iterable[tuple[str, pa.ChunkedArray]] = (
            (name, changed[f"{side}_{name}"]) for name in COMPARED if name != "file"
        )
        rows = pa.table(
            {"paper_id": changed["paper_id"], "file": self.file_names(changed[f"{side}_file"]), **dict(columns)}
        )
        titles: list[str | None] = self._papers.with_papers(rows)["title"].to_pylist()
        return titles

    def described(self) -> ComparedNight:
        """Return what the result says about the night."""
        return ComparedNight(
            place=str(self.night.out),
            rows=self.night.rows,
            labelled=self.labelled,
            bundle=self.night.fingerprint,
            device=self.night.plan.night.device if self.night.plan.night else None,
            model=self.night.model,
        )
