"""Single papers of a night: the least certain ones, those that were confused, samples of a label, and rejected rows."""

import difflib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.errors import ConfigError, UsageError
from specter_batch.papers.screening import Reason
from specter_batch.storage.location import Location
from specter_jobs.inspect.night_folder import NightFolder, ShardRows, open_night
from specter_jobs.inspect.night_papers import NightPapers
from specter_jobs.inspect.night_rows import NightRows
from specter_jobs.inspect.question import Ask, Question
from specter_jobs.inspect.row_schema import FAILED, in_order

_KEY = "_order"


class NightView:
    """Answers questions about the papers of one night.

    Args:
        place: Output folder of the night.
        papers: Present place of the papers; None for the place from which the night read them.

    Raises:
        ConfigError: The folder holds no night, or the papers are not there.
        BusyError: A job is still writing the night.
    """

    def __init__(self, place: Location, papers: Location | None = None) -> None:
        self._night: NightFolder = open_night(place)
        self._rows = NightRows(self._night)
        self._papers = NightPapers(self._night, papers, metadata=self._rows.metadata)
        lists = [field.name for field in self._rows.schema if pa.types.is_nested(field.type)]
        self._columns = [name for name in self._rows.schema.names if name not in lists]
        fields = [self._rows.schema.field(name) for name in self._columns]
        self.schema = pa.schema(in_order([*fields, *self._papers.columns]))
        self.notes: list[str] = []

    def all(self, question: Question) -> Iterator[pa.Table]:
        """Yield all papers that a question asks for, in the order of the input, with titles and abstracts.

        Raises:
            UsageError: The night has no such label or reason.
            ConfigError: The night has no such id.
        """
        for table in self._matching(question):
            yield self._joined(table).select(self.schema.names).cast(self.schema)
        self.notes += self._papers.notes()

    def first(self, question: Question) -> tuple[pa.Table, int]:
        """Return the first papers that a question asks for, and the number of all such papers. See `all` for errors."""
        best, total, unknown = _Best(question, "margin"), 0, 0
        by_score = _Best(question, "score")
        for table in self._matching(question):
            total += len(table)
            unknown += table["margin"].null_count
            best.add(table)
            if question.ask == "least_certain":
                by_score.add(table)
        if question.ask == "least_certain" and unknown:
            if unknown == total:
                best = by_score
                self.notes.append("the night was written without margins; the papers are in the order of their score")
            else:
                self.notes.append(
                    f"{unknown:,} labels have no margin, because an earlier version wrote them; they are left out"
                )
        found = best.table
        if found is None:
            return self.schema.empty_table(), total
        joined = self._joined(found)
        self.notes += self._papers.notes()
        return joined.select(self.schema.names).cast(self.schema), total

    def _joined(self, table: pa.Table) -> pa.Table:
        return table if "title" in table.column_names else self._papers.with_papers(table)

    def _matching(self, question: Question) -> Iterator[pa.Table]:
        """Yield the rows that match, of each shard that has any."""
        ask, values = question.ask, question.values
        if ask == "rejected":
            self._check_reason(values[0])
        matches = _MATCHES[ask]

        def may_match(shard: ShardRows) -> bool:
            return ask != "rejected" or bool(shard.entry and values[0] in shard.entry.rejects_by_reason)

        needs_truth = ask == "confused" and "true_label" not in self._rows.held
        seen, near, found = _Seen(), "", 0
        for table in self._rows.tables(self._columns, wanted=may_match):
            has_failed = ask == "id" and FAILED in table["status"].cast(pa.string()).unique().to_pylist()
            rows = self._papers.with_papers(table) if needs_truth or has_failed else table
            seen.add(rows, ask)
            matching = rows.filter(matches(rows, values))
            found += len(matching)
            if len(matching):
                yield matching
            elif ask == "id" and not near:
                near = _near_id(rows, values[0])
        if ask in ("label", "confused"):
            self._check_labels(question, seen)
        if ask == "id" and not found:
            hint = f"; did you mean {near}?" if near else "; `specter-batch show` looks for the whole id"
            raise ConfigError(f"{self._night.out}: no row has the id {values[0]}{hint}")

    def _check_reason(self, reason: str) -> None:
        reasons = self._night.reject_reasons
        known = {*reasons, *get_args(Reason)}
        if reason not in known:
            counts = ", ".join(f"{name} ({rows:,})" for name, rows in sorted(reasons.items())) or "none"
            raise UsageError(
                f"--rejected: there is no reason {reason}{_meant(reason, known)}; reasons in this night: {counts}"
            )

    def _check_labels(self, question: Question, seen: "_Seen") -> None:
        known = set(self._night.report.label_papers) if self._night.report else set()
        pairs = zip(question.values, (seen.true, seen.predicted)[-len(question.values) :], strict=True)
        for value, names in pairs:
            if value not in known | names:
                raise UsageError(
                    f"--{question.ask}: no paper has the label {value}{_meant(value, known | names)}; labels of this "
                    f"night: {', '.join(sorted(known | names)) or 'none'}"
                )


class _Seen:
    """The labels that rows had."""

    def __init__(self) -> None:
        self.true: set[str] = set()
        self.predicted: set[str] = set()

    def add(self, rows: pa.Table, ask: Ask) -> None:
        if ask in ("label", "confused"):
            self.predicted |= {name for name in rows["label"].unique().to_pylist() if name is not None}
        if ask == "confused":
            self.true |= {name for name in rows["true_label"].unique().to_pylist() if name is not None}


class _Best:
    """Keeps the first papers of a stream by one key, up to the number that is wanted."""

    def __init__(self, question: Question, certainty: str) -> None:
        self._question = question
        self._certainty = certainty
        self.table: pa.Table | None = None

    def add(self, table: pa.Table) -> None:
        if self._question.ask == "least_certain":
            table = table.filter(table[self._certainty].is_valid())
        table = table.append_column(_KEY, self._key(table))
        table = table if self.table is None else pa.concat_tables([self.table, table])
        if self._question.papers is not None and len(table) > self._question.papers:
            order = pc.sort_indices(table, [(_KEY, self._direction)])  # stable: earlier rows win
            table = table.take(order[: self._question.papers])
        self.table = table.take(pc.sort_indices(table, [(_KEY, self._direction)]))

    @property
    def _direction(self) -> str:
        return "descending" if self._question.ask == "confused" and not self._question.at_random else "ascending"

    def _key(self, table: pa.Table) -> pa.Array | pa.ChunkedArray:
        if self._question.at_random:
            return _random_keys(table)
        if self._question.ask == "least_certain":
            return table[self._certainty]
        if self._question.ask == "confused":
            return table["score"]
        return pa.array(np.zeros(len(table)))


def _random_keys(table: pa.Table) -> pa.Array:
    """Return a text for each row that is as good as random and always the same: the hash of its text or its place."""
    rows = zip(table["text_hash"].to_pylist(), table["file"].to_pylist(), table["row"].to_pylist(), strict=True)
    keys = [held or hashlib.blake2b(f"{file}\0{row}".encode(), digest_size=16).hexdigest() for held, file, row in rows]
    return pa.array(keys, pa.string())


def _equal(rows: pa.Table, column: str, value: str) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(rows[column], value), False)


_MATCHES: dict[Ask, Callable[[pa.Table, Sequence[str]], pa.ChunkedArray]] = {
    "least_certain": lambda rows, _: rows["label"].is_valid(),
    "label": lambda rows, values: _equal(rows, "label", values[0]),
    "id": lambda rows, values: _equal(rows, "paper_id", values[0]),
    "rejected": lambda rows, values: _equal(rows, "reject_reason", values[0]),
    "confused": lambda rows, values: pc.and_(_equal(rows, "true_label", values[0]), _equal(rows, "label", values[1])),
}


def _near_id(rows: pa.Table, wanted: str) -> str:
    """Return an id that differs only in case or in white space around it, or an empty text."""
    folded = pc.utf8_lower(pc.utf8_trim_whitespace(rows["paper_id"]))
    near = rows["paper_id"].filter(pc.fill_null(pc.equal(folded, wanted.strip().lower()), False))
    return str(near[0]) if len(near) else ""


def _meant(value: str, known: set[str]) -> str:
    """Return a question that suggests the name that was probably meant."""
    folded = {name.casefold(): name for name in sorted(known)}
    near = difflib.get_close_matches(value.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]}?" if near else ""
