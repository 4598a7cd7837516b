"""The papers that a night labelled, put next to its rows: by file and row, and only where the row is still the same."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from specter_batch.display import original_name
from specter_batch.errors import ConfigError, PaperSchemaError, SpecterBatchError, StorageError
from specter_batch.inputs.path_names import partitions_in
from specter_batch.options import InputColumns
from specter_batch.papers.columns import PaperColumns, normalise_label
from specter_batch.papers.parquet import open_parquet
from specter_batch.papers.text import TEXT_TEMPLATE, paper_texts, text_hash
from specter_batch.storage.location import Location, located, parted_at_wildcard
from specter_jobs.inspect.night_folder import NightFolder
from specter_jobs.inspect.paper_file import THERE, PaperFile, kept_name, null_papers
from specter_jobs.inspect.row_schema import FAILED, ROW_SCHEMA
from specter_jobs.output.names import INGESTED, PAPERS
from specter_jobs.output.schema import OWN_NAMES

TEMPLATE_KEY = b"text_template"
BUNDLE_FILE = "bundle.json"
# The columns of the papers that every night can have, next to those of the night.
PAPER_COLUMNS = ("title", "abstract")


class _BundleFile(BaseModel):
    """The part of `bundle.json` that is needed to make the text of a paper."""

    model_config = ConfigDict(extra="ignore")

    fingerprint: str
    text_template: str


class NightPapers:
    """Reads the papers of a night's rows.

    A row of the night gets its title only if the papers still hold what was labelled there. For a labelled row the hash
    of the text must be the same, and for a rejected row the id. Other rows get null, and `notes` counts them.

    Args:
        night: The opened night.
        place: Present place of the papers: a folder, a glob, or the only file of the night; None for the place in
            `plan.json`.
        kept: Names of more columns of the papers to return.
        metadata: Metadata of the night's label files.

    Raises:
        ConfigError: None of the night's files is at the place that is given, or no file has one of the kept columns.

    Attributes:
        NEEDS: The columns that the rows must have.
    """

    NEEDS = ("file", "row", "paper_id", "status", "text_hash")

    def __init__(
        self,
        night: NightFolder,
        place: Location | None = None,
        *,
        kept: Sequence[str] = (),
        metadata: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._night = night
        self._is_given = place is not None
        self._root, self._is_file = self._located(place)
        self._columns = _columns(night)
        self._metadata = metadata or {}
        self._template: str | None = None
        self._open: tuple[str, PaperFile] | None = None
        self._gone: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self._same = 0
        there = next((name for name in night.plan.files if self._place(name).is_file()), None)
        if place is not None and there is None and night.plan.files:
            raise ConfigError(self._nothing_there(place))
        self._kept = [self._field(name, there) for name in kept]

    @property
    def columns(self) -> pa.Schema:
        """The columns that `with_papers` adds."""
        texts = [pa.field(name, pa.string()) for name in PAPER_COLUMNS]
        return pa.schema([*texts, *(field.with_name(_added_name(field.name)) for field in self._kept)])

    def with_papers(self, rows: pa.Table) -> pa.Table:
        """Return rows with the columns of their papers added.

        Rows of failed shards get the id of the paper. Rows without a true label get the one of the paper.

        Args:
            rows: Rows of the night in any order, with the columns `NEEDS` and perhaps `true_label`.
        """
        if not len(rows):
            return self._added(rows, null_papers(0, self._kept))
        places = pa.table({"file": rows["file"].cast(pa.string()), "row": rows["row"]})
        order = pc.sort_indices(places, [("file", "ascending"), ("row", "ascending")]).to_numpy()
        joined = self._in_order(rows.take(order), places["file"].take(order).to_pylist())
        return joined.take(np.argsort(order))

    def _in_order(self, rows: pa.Table, files: Sequence[str]) -> pa.Table:
        """Return rows that are in the order of file and row with the columns of their papers added."""
        starts = [at for at in range(len(files)) if not at or files[at] != files[at - 1]]
        ends = [*starts[1:], len(files)]
        return pa.concat_tables(
            self._of_one_file(files[start], rows.slice(start, end - start))
            for start, end in zip(starts, ends, strict=True)
        )

    def notes(self) -> list[str]:
        """Return a sentence for each kind of row that got no title because the papers are not as they were."""
        notes = []
        if gone := sum(self._gone.values()):
            hint = "" if self._is_given else "; say where they are now with `--papers FOLDER` (Python: `papers=`)"
            notes.append(
                f"{gone:,} rows have no title here, because {len(self._gone):,} of {len(self._night.plan.files):,} "
                f"files of papers cannot be read in {self._root} (first: {next(iter(self._gone))}){hint}"
            )
        if changed := sum(self._changed.values()):
            why = "" if self._same else ", or the bundle is gone and its text template is not the usual one"
            notes.append(
                f"{changed:,} rows have no title here, because the papers in {self._root} have changed since the night"
                f"{why} (first: {next(iter(self._changed))})"
            )
        return notes

    def _located(self, place: Location | None) -> tuple[Location, bool]:
        """Return the folder that the names in the plan are below, and whether the place is the only file itself."""
        plan = self._night.plan
        if place is None:
            ingested = self._night.out / INGESTED / PAPERS
            moved = plan.dump is not None and any((ingested / original_name(name)).is_file() for name in plan.files)
            return (ingested if moved else located(original_name(plan.root))), False
        root, parts = parted_at_wildcard(place)
        return (root, False) if parts else (place, len(plan.files) == 1 and place.is_file())

    def _place(self, name: str) -> Location:
        return self._root if self._is_file else self._root / original_name(name)

    def _nothing_there(self, place: Location) -> str:
        plan = self._night.plan
        first = next(iter(plan.files))
        if plan.dump is not None:
            return (
                f"{place}: has none of the papers that the night labelled (first: {first}); the night ingested a dump, "
                f"and its papers were in {self._night.out / INGESTED / PAPERS}"
            )
        return (
            f"{place}: has none of the {len(plan.files):,} files that the night labelled (first: {first}); give the "
            f"folder that was DUMP, which was {plan.root}"
        )

    def _field(self, name: str, file: str | None) -> pa.Field:
        """Return a kept column with its type in the first file that is there."""
        if file is None:
            return pa.field(name, pa.string())
        with open_parquet(self._place(file)) as parquet:
            schema = parquet.schema_arrow
        if name in schema.names:
            return schema.field(name).remove_metadata()
        if name in partitions_in(original_name(file).split("/")[:-1]):
            return pa.field(name, pa.string())
        raise ConfigError(f"{self._place(file)}: has no column {name}; it has {', '.join(schema.names)}")

    def _of_one_file(self, name: str, rows: pa.Table) -> pa.Table:
        if name not in self._night.plan.files:  # a record of a dump that was rejected before it became a paper
            return self._added(rows, null_papers(len(rows), self._kept))
        numbers = rows["row"].to_numpy()
        try:
            if self._open is None or self._open[0] != name or not self._open[1].reaches(int(numbers[0])):
                file = PaperFile(self._place(name), original_name(name), self._columns, self._kept)
                self._open = name, file
            papers = self._open[1].rows(numbers)
        except (PaperSchemaError, StorageError):
            self._open = None
            self._gone[name] += len(rows)
            return self._added(rows, null_papers(len(rows), self._kept))
        same = self._is_same(papers, rows)
        self._same += int(same.sum())
        if not same.all():
            self._changed[name] += int((~same).sum())
            papers = papers.take(pa.array(np.arange(len(papers)), mask=~same))
        return self._added(rows, papers)

    def _is_same(self, papers: pa.Table, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Return for each row whether the paper there is the one that the night saw."""
        if self._template is None:
            self._template = template_of(self._night, self._metadata) or TEXT_TEMPLATE
        there = papers[THERE.name].to_numpy()
        hashed = rows["text_hash"].is_valid().to_numpy() & there
        at = np.flatnonzero(hashed)
        now = np.full(len(papers), None, object)
        now[at] = [text_hash(text) for text in paper_texts(papers, self._template, rows=at)]
        same_text = pc.fill_null(pc.equal(pa.array(now, pa.string()), rows["text_hash"].combine_chunks()), False)
        ids, held = papers["paper_id"].combine_chunks(), rows["paper_id"].combine_chunks()
        same_id = pc.or_(pc.fill_null(pc.equal(ids, held), False), pc.and_(ids.is_null(), held.is_null()))
        failed = pc.equal(rows["status"].cast(pa.string()), FAILED).to_numpy()
        same = np.where(hashed, *(column.to_numpy(zero_copy_only=False) for column in (same_text, same_id)))
        return np.asarray(there & (failed | same), np.bool_)

    def _added(self, rows: pa.Table, papers: pa.Table) -> pa.Table:
        for name in PAPER_COLUMNS:
            rows = rows.append_column(name, papers[name])
        for field in self._kept:
            name, values = _added_name(field.name), papers[kept_name(field.name)]
            if name in rows.column_names:  # the night kept this column for the rows with labels
                rows = _filled(rows, name, self._cast(values, rows.schema.field(name)))
            else:
                rows = rows.append_column(name, values)
        rows = _filled(rows, "paper_id", papers["paper_id"])
        if "true_label" in rows.column_names:
            truth = pa.array([normalise_label(label) for label in papers["label"].to_pylist()], pa.string())
            rows = _filled(rows, "true_label", truth)
        return rows

    def _cast(self, values: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        try:
            return values.cast(field.type)
        except pa.ArrowException as error:
            raise ConfigError(
                f"{self._root}: the papers have {field.name} as {values.type}, and the night kept it as {field.type}; "
                "leave it out of paper_columns"
            ) from error


def _added_name(name: str) -> str:
    """Return the name of a kept column in the result."""
    return kept_name(name) if name in OWN_NAMES.union(ROW_SCHEMA.names, PAPER_COLUMNS) else name


def _filled(rows: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the rows with values where a column has none."""
    at = rows.column_names.index(name)
    return rows.set_column(at, name, pc.coalesce(rows[name], values))


def _columns(night: NightFolder) -> PaperColumns:
    """Return the column names that the night was given."""
    if night.plan.dump is not None:  # the ingest wrote the papers with the usual names
        return PaperColumns()
    config = dict(night.manifest.config) if night.manifest else {}
    given = config | (night.plan.night.reading if night.plan.night else {})
    names = {name: given.get(name) for name in InputColumns.model_fields}
    return InputColumns(**{name: value for name, value in names.items() if isinstance(value, str)}).columns


def template_of(night: NightFolder, metadata: Mapping[bytes, bytes]) -> str | None:
    """Return the template that joined title and abstract; None if neither the night nor its bundle says."""
    if TEMPLATE_KEY in metadata:
        return metadata[TEMPLATE_KEY].decode()
    if night.manifest is None:
        return None
    try:
        place = located(original_name(night.manifest.bundle.path)) / BUNDLE_FILE
        bundle = _BundleFile.model_validate_json(place.read_bytes())
    except (SpecterBatchError, OSError, ValidationError):
        return None
    return bundle.text_template if bundle.fingerprint == night.fingerprint else None
