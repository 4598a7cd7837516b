"""Unlabelled papers to train on: screened as in a nightly job, each text once, and none of the labelled papers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.display import storable
from specter_batch.errors import ConfigError
from specter_batch.inputs import InputInventory
from specter_batch.metrics.scores import seen_in_training
from specter_batch.options.screening import ScreeningRules
from specter_batch.papers.columns import NO_LABELS, PAPER_SCHEMA, PaperColumns
from specter_batch.papers.complete_input import complete_inventory
from specter_batch.papers.language import EnglishFilter
from specter_batch.papers.parquet import PaperBatch, open_parquet, read_papers
from specter_batch.papers.screening import reject_foreign_languages, screen_columns
from specter_batch.papers.text import normalised_text_hash, paper_texts
from specter_batch.training.papers.labelled import READ_ROWS, papers_sha256

REPEATED, NOT_CHOSEN = "repeated", "more than --max-papers"


@dataclass(frozen=True, kw_only=True)
class UnlabelledPapers:
    """Papers of a dump that a student learns from. Their order depends on their texts only.

    Attributes:
        papers: Table with `PAPER_SCHEMA`. Every row has a title; the label is null.
        hashes: Normalised hashes of the texts, `(n_papers,)` uint64, sorted.
        dropped: Reason -> number of rows that were left out.
        source: Name of the input in messages.
        notes: Sentences about the input that a user should read.
    """

    papers: pa.Table
    hashes: npt.NDArray[np.uint64]
    dropped: Mapping[str, int]
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.papers.num_rows)

    def texts(self, template: str) -> list[str]:
        """Return each paper's text."""
        return list(paper_texts(self.papers, template))

    def content_sha256(self) -> str:
        """Return a hash of ids and texts, whatever files they came in."""
        return papers_sha256(self.papers)

    def told(self) -> str:
        """Return a sentence that says how many papers are used, and why the others are not."""
        left_out = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in self.dropped.items())
        return f"{self.source}: {len(self):,} unlabelled papers are used" + (
            f"; left out: {left_out}" if left_out else ""
        )


def unlabelled_batches(inventory: InputInventory, columns: PaperColumns) -> Iterator[PaperBatch]:
    """Read all papers of an input, without their labels.

    Args:
        inventory: The files of the input.
        columns: Column names of the papers.

    Raises:
        PaperSchemaError: A file cannot be read, or a column is missing.
    """
    without_labels = replace(columns, label=NO_LABELS)
    for listed in inventory.files:
        where = storable(str(listed.path))
        with open_parquet(listed.path) as file:
            names = without_labels.resolve(file.schema_arrow, where=where, partitions=listed.partitions)
            yield from read_papers(file, names, where=where, batch_rows=READ_ROWS, partitions=listed.partitions)


def read_unlabelled(
    source: str | Path,
    columns: PaperColumns | None = None,
    *,
    rules: ScreeningRules,
    known: Mapping[str, npt.NDArray[np.uint64]],
    limit: int,
) -> UnlabelledPapers:
    """Read the papers of a file, folder or glob that can be labelled and that are not known already.

    If there are more than the limit, the papers with the smallest hashes of their texts are taken. These are the same
    papers whatever the order of rows and files.

    Args:
        source: The papers.
        columns: Column names of the papers; detected when None. Labels are not read.
        rules: Which papers can be labelled.
        known: Reason to leave a paper out, such as `in --val` -> sorted normalised hashes of texts.
        limit: Most papers to take.

    Raises:
        PaperSchemaError: Nothing is there, or a file is no parquet of papers.
        ConfigError: No paper can be used.
    """
    inventory, shown = complete_inventory(source), storable(str(source))
    english = EnglishFilter() if rules.language == "en" else None
    chosen = _Chosen(limit=limit)
    for batch in unlabelled_batches(inventory, columns or PaperColumns()):
        chosen.add(batch, rules=rules, english=english, known=known)
    papers, hashes, dropped = chosen.finished()
    found = UnlabelledPapers(
        papers=papers,
        hashes=hashes,
        dropped=dropped,
        source=shown,
        notes=tuple(f"{shown}: {sentence}" for sentence in inventory.notes()),
    )
    if not len(found):
        raise ConfigError(f"{found.told()}; give other papers with --papers, or leave the option out")
    return found


class _Chosen:
    """Collects the papers with the smallest hashes, and holds few more than it keeps.

    Args:
        limit: Most papers to keep.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._dropped: Counter[str] = Counter()
        self._papers = PAPER_SCHEMA.empty_table()
        self._hashes = np.zeros(0, dtype=np.uint64)

    def add(
        self,
        batch: PaperBatch,
        *,
        rules: ScreeningRules,
        english: EnglishFilter | None,
        known: Mapping[str, npt.NDArray[np.uint64]],
    ) -> None:
        """Add the papers of a batch that can be used, and count the others."""
        screening = screen_columns(batch, rules, ids_needed=False)
        if english is not None:
            reject_foreign_languages(screening, batch, english)
        self._dropped.update(screening.reasons.values())
        usable = batch.table.filter(pa.array(screening.usable))
        texts = list(paper_texts(usable))
        keep = np.ones(len(texts), dtype=np.bool_)
        for reason, hashes in known.items():
            seen = seen_in_training(texts, hashes) & keep
            self._dropped[reason] += int(seen.sum())
            keep &= ~seen
        new = np.array([normalised_text_hash(text) for text in texts], dtype=np.uint64)
        self._merge(usable.filter(pa.array(keep)), new[keep])

    def finished(self) -> tuple[pa.Table, npt.NDArray[np.uint64], dict[str, int]]:
        """Return the papers, their hashes in the same order, and the numbers of rows that were left out."""
        return self._papers, self._hashes, {reason: rows for reason, rows in self._dropped.items() if rows}

    def _merge(self, papers: pa.Table, hashes: npt.NDArray[np.uint64]) -> None:
        joined = np.concatenate([self._hashes, hashes])
        distinct, first = np.unique(joined, return_index=True)
        self._dropped[REPEATED] += len(joined) - len(distinct)
        self._dropped[NOT_CHOSEN] += max(0, len(distinct) - self._limit)
        self._hashes = distinct[: self._limit]
        rows = pa.array(first[: self._limit])
        self._papers = pa.concat_tables([self._papers, papers]).take(rows).combine_chunks()
