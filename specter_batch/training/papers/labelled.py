"""Labelled papers for training and evaluation."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.display import storable, without_credentials
from specter_batch.errors import ConfigError, LabelError, PaperSchemaError
from specter_batch.inputs.path_names import shown_partitions
from specter_batch.metrics.scores import papers_seen
from specter_batch.papers.columns import PAPER_SCHEMA, LabelColumnError, PaperColumns, normalise_labels
from specter_batch.papers.complete_input import complete_inventory
from specter_batch.papers.labels import LabelSet, respelled
from specter_batch.papers.parquet import PaperBatch, open_parquet, read_papers
from specter_batch.papers.text import TEXT_TEMPLATE, missing_values, normalised_text_hash, paper_texts

READ_ROWS = 8192

# Why a row cannot be used. Of several reasons the first one counts.
REASONS = ("invalid_unicode", "missing_title", "missing_abstract", "missing_label")

# What pandas writes where a value is missing, in lower case.
NAMES_OF_MISSING = frozenset(("nan", "<na>", "nat", "null", "none"))

# What follows from papers with equal texts, where each of them counts.
COPIES_COUNT = "each of them counts, so the intervals are narrower than they should be"


@dataclass(frozen=True, kw_only=True)
class LabelledPapers:
    """Papers that can be trained on or scored.

    Attributes:
        papers: Table with `PAPER_SCHEMA`. Every row has an id, a title, an abstract and a normalised label.
        dropped: Reason -> number of rows that were left out.
        source: Name of the input in messages.
        notes: Sentences about the labels that a user should read, such as spellings that became one class.
    """

    papers: pa.Table
    dropped: Mapping[str, int]
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.papers.num_rows)

    @property
    def file_name(self) -> str:
        """The last part of the input's path, glob or URL. The folders of this machine are nobody else's business."""
        return without_credentials(self.source).rstrip("/").rpartition("/")[2] or self.source

    def texts(self, template: str = TEXT_TEMPLATE) -> list[str]:
        """Return each paper's text."""
        return list(paper_texts(self.papers, template))

    def seen_by(self, seen_texts: npt.NDArray[np.uint64], *, template: str = TEXT_TEMPLATE) -> npt.NDArray[np.bool_]:
        """Return `(n_papers,)` bool: the paper is among the training texts of a model with this template."""
        return papers_seen(self.papers, seen_texts, template=template)

    def label_ids(self, labels: LabelSet) -> npt.NDArray[np.int64]:
        """Return `(n_papers,)` label ids.

        Raises:
            LabelError: A paper's label is not in the set.
        """
        unknown = self.unknown_labels(labels)
        if unknown:
            raise self.unknown_error(labels)
        return self.known_label_ids(labels)

    def known_label_ids(self, labels: LabelSet) -> npt.NDArray[np.int64]:
        """Return `(n_papers,)` label ids, -1 for a label that is not in the set."""
        values = self.papers["label"].to_pylist()
        ids = {value: labels.find(value) for value in set(values)}
        return np.array([ids[value] if ids[value] is not None else -1 for value in values], dtype=np.int64)

    def unknown_labels(self, labels: LabelSet) -> dict[str, int]:
        """Return how many papers have each label that is not in the set, the most frequent first."""
        values = Counter(self.papers["label"].to_pylist())
        return {value: count for value, count in values.most_common() if labels.find(value) is None}

    def unknown_error(self, labels: LabelSet) -> LabelError:
        """Return the error that names the labels which are not in the set."""
        unknown = self.unknown_labels(labels)
        shown = ", ".join(
            f"{labels.described(value)} in {unknown[value]} paper{'s' if unknown[value] > 1 else ''}"
            for value in list(unknown)[:5]
        )
        are = "label is" if len(unknown) == 1 else "labels are"
        return LabelError(
            f"{self.source}: {len(unknown)} {are} not among the model's: {shown}; correct or remove these papers; "
            f"the model's labels are {', '.join(labels)}"
        )

    def seen_hashes(self) -> npt.NDArray[np.uint64]:
        """Return the sorted unique normalised hashes of the texts, `(n_texts,)` uint64. The leak check uses them.

        The hashes are made with the default template, whatever the template of the model.
        """
        return np.unique(self._text_hashes)

    @cached_property
    def _text_hashes(self) -> npt.NDArray[np.uint64]:
        return np.array([normalised_text_hash(text) for text in paper_texts(self.papers)], dtype=np.uint64)

    def copies(self) -> npt.NDArray[np.bool_]:
        """Return `(n_papers,)` bool: an earlier paper has the same text, without case and punctuation."""
        found = np.ones(len(self), dtype=np.bool_)
        found[np.unique(self._text_hashes, return_index=True)[1]] = False
        return found

    def note_on_copies(self, consequence: str) -> tuple[str, ...]:
        """Return a sentence about papers with the text of an earlier one; none if there are no such papers.

        Args:
            consequence: What follows from it, in words.
        """
        copies = int(self.copies().sum())
        of = f"{copies:,} of {len(self):,} papers"
        return (f"{of} have the same text as an earlier paper; {consequence}",) if copies else ()

    def content_sha256(self) -> str:
        """Return a hash of ids, texts and labels, whatever file or column types they came in."""
        return papers_sha256(self.papers)


def papers_sha256(papers: pa.Table) -> str:
    """Return a hash of the ids, texts and labels of a table with `PAPER_SCHEMA`."""
    digest = hashlib.sha256()
    for row in papers.to_pylist():
        digest.update("\x1f".join(row[name] or "" for name in PAPER_SCHEMA.names).encode() + b"\x1e")
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """A batch of rows, and which of them are papers with a title, an abstract and a label.

    Attributes:
        papers: Table with `PAPER_SCHEMA` and normalised labels.
        reason: Position in `REASONS` of why a row is left out, `(n_rows,)`; -1 for a row that can be used.
    """

    papers: pa.Table
    reason: npt.NDArray[np.int8]

    @classmethod
    def of(cls, batch: PaperBatch) -> "LabelledRows":
        """Judge the rows of a batch."""
        labels = normalise_labels(batch.table["label"])
        reason = np.full(len(batch), -1, dtype=np.int8)
        unusable = (
            batch.invalid_unicode,
            missing_values(batch.table["title"]),
            missing_values(batch.table["abstract"]),
            labels.is_null().to_numpy(zero_copy_only=False),
        )
        for number, bad in enumerate(unusable):
            reason[bad & (reason < 0)] = number
        papers = batch.table.set_column(PAPER_SCHEMA.get_field_index("label"), "label", labels)
        return cls(papers=papers, reason=reason)

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """True for rows that can be used, `(n_rows,)`."""
        return np.asarray(self.reason < 0)

    @property
    def labels_found(self) -> int:
        """Number of rows with a label, whether they can be used or not."""
        return len(self.reason) - int(self.papers["label"].null_count)

    def dropped(self) -> dict[str, int]:
        """Return the number of rows that are left out, by reason."""
        return {name: int((self.reason == number).sum()) for number, name in enumerate(REASONS)}


def read_labelled(source: str | Path, columns: PaperColumns | None = None) -> LabelledPapers:
    """Read the papers of a file, folder or glob that have a title, an abstract and a label.

    Raises:
        PaperSchemaError: Nothing is there, or a file is no parquet of labelled papers.
        LabelError: No paper has a label.
    """
    inventory, shown = complete_inventory(source), storable(str(source))
    tables: list[pa.Table] = []
    dropped: Counter[str] = Counter()
    spellings: Counter[str] = Counter()
    labels_found = 0
    for listed in inventory.files:
        file, where, partitions = open_parquet(listed.path), storable(str(listed.path)), listed.partitions
        resolved = labelled_columns(columns or PaperColumns(), file.schema_arrow, where=where, partitions=partitions)
        for batch in read_papers(file, resolved, where=where, batch_rows=READ_ROWS, partitions=partitions):
            rows = LabelledRows.of(batch)
            labels_found += rows.labels_found
            dropped.update(rows.dropped())
            usable = pa.array(rows.usable)
            spellings.update(batch.table["label"].filter(usable).to_pylist())
            tables.append(rows.papers.filter(usable))
    papers = pa.concat_tables(tables) if tables else PAPER_SCHEMA.empty_table()
    if not papers.num_rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count) or "no rows"
        kind = LabelError if tables and not labels_found else PaperSchemaError
        raise kind(f"{shown}: no paper has a title, an abstract and a label ({reasons})")
    return LabelledPapers(
        papers=papers,
        dropped={k: v for k, v in dropped.items() if v},
        source=shown,
        notes=tuple(f"{shown}: {sentence}" for sentence in (*inventory.notes(), *respelled(spellings))),
    )


def labelled_columns(
    columns: PaperColumns, schema: pa.Schema, *, where: str, partitions: Mapping[str, str | None]
) -> dict[str, str]:
    """Return the names of all four columns.

    Raises:
        ConfigError: `--label-column none` was given.
        PaperSchemaError: A column is missing or of a type that cannot be read.
    """
    if not columns.candidates("label"):
        raise ConfigError(
            f"{where}: --label-column {columns.label or repr('')} reads no labels, and this command needs them; name "
            "the column, as in --label-column label"
        )
    try:
        resolved = columns.resolve(schema, where=where, partitions=partitions)
    except LabelColumnError as error:
        raise LabelColumnError(
            f"{error}; convert it so that each paper has one label, or name another column with --label-column"
        ) from error
    if "label" not in resolved:
        raise PaperSchemaError(
            f"{where}: no label column among {', '.join(schema.names)}{shown_partitions(partitions)}; name it with "
            "--label-column"
        )
    return resolved


def label_warnings(papers: LabelledPapers) -> tuple[str, ...]:
    """Return sentences about labels that are probably not meant as they are: names that look alike, or missing ones."""
    counts = Counter(papers.papers["label"].to_pylist())
    if len(counts) < 2:
        return ()
    alike = [
        f"{papers.source}: the labels {' and '.join(map(ascii, group))} differ only in case, blanks or the form of "
        "their characters; they stay separate classes. If they mean the same, write them the same"
        for group in LabelSet.from_values(counts).lookalikes()
    ]
    missing = [
        f"{papers.source}: {counts[name]:,} papers have the label {name!r}, which is a class now. If it means that the "
        "label is missing, leave the value empty"
        for name in sorted(counts)
        if name.casefold() in NAMES_OF_MISSING
    ]
    return (*alike, *missing)
