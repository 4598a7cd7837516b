"""Chooses papers that a model has not seen, by a hash of their text."""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.scores import papers_seen
from specter_batch.options.screening import ScreeningRules
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.complete_input import complete_inventory
from specter_batch.papers.language import EnglishFilter
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.screening import reject_foreign_languages, screen_columns
from specter_batch.papers.text import paper_texts, text_hash
from specter_batch.training.papers.unlabelled import unlabelled_batches

# What the papers are called that are left out for other reasons than the screening of the job.
SEEN, COPY = "seen_in_training", "copy_of_another"


@dataclass(frozen=True, kw_only=True)
class CalibrationInput:
    """Papers that a user gives for the certificate.

    Attributes:
        source: A parquet file, a folder or a glob.
        columns: Names of the columns.
        rules: Which papers can be labelled.
    """

    source: Path
    columns: PaperColumns = field(default_factory=PaperColumns)
    rules: ScreeningRules = field(default_factory=ScreeningRules)

    def batches(self) -> Iterator[PaperBatch]:
        """Read all papers of the input, without their labels.

        Raises:
            PaperSchemaError: Nothing is there, a file cannot be read, or a column is missing.
        """
        return unlabelled_batches(complete_inventory(self.source), self.columns)


@dataclass(frozen=True, kw_only=True)
class ChosenPapers:
    """Papers that a certificate can be made with.

    Attributes:
        texts: Text of each paper, in the order of the hashes of the texts, which is a random order.
        papers: Number of papers that were looked at.
        left_out: Reason -> number of papers that were left out because of it, in a fixed order.
    """

    texts: tuple[str, ...]
    papers: int
    left_out: Mapping[str, int]

    @property
    def left_out_text(self) -> str:
        """The reasons with their numbers of papers, for a message; empty if nothing was left out."""
        return ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())


class PaperChooser:
    """Chooses papers by the smallest hashes of their texts, so that the choice does not depend on order or files.

    Args:
        count: Largest number of papers to choose.
        rules: Which papers can be labelled.
        template: Text template of the model.
        seen_texts: Sorted hashes of the texts that the model was trained on, `(n_texts,)`.
    """

    def __init__(self, *, count: int, rules: ScreeningRules, template: str, seen_texts: npt.NDArray[np.uint64]) -> None:
        self._count = count
        self._rules = rules
        self._template = template
        self._seen_texts = seen_texts
        self._english = EnglishFilter()
        self._held: dict[int, str] = {}
        self._largest: list[int] = []  # a heap of the negative hashes of the chosen papers
        self._papers = 0
        self._left_out: Counter[str] = Counter()

    def add(self, papers: PaperBatch) -> None:
        """Look at some papers. The costly checks are only made for papers that would be chosen."""
        self._papers += len(papers)
        screening = screen_columns(papers, self._rules, ids_needed=False)
        texts = list(paper_texts(papers.table, self._template))
        keys = [int(text_hash(text), 16) for text in texts]
        wanted = np.array([key in self._held or self._has_room_for(key) for key in keys], dtype=np.bool_)
        screening.usable &= wanted
        if self._rules.language == "en":
            reject_foreign_languages(screening, papers, self._english)
        self._left_out.update(screening.reasons.values())
        rows = np.flatnonzero(screening.usable)
        seen = papers_seen(papers.table, self._seen_texts, template=self._template, rows=rows)
        self._left_out[SEEN] += int(seen.sum())
        for row in rows[~seen].tolist():
            self._take(keys[row], texts[row])

    def chosen(self) -> ChosenPapers:
        """Return the papers that were chosen."""
        return ChosenPapers(
            texts=tuple(self._held[key] for key in sorted(self._held)),
            papers=self._papers,
            left_out={reason: count for reason, count in sorted(self._left_out.items()) if count},
        )

    def _has_room_for(self, key: int) -> bool:
        return len(self._held) < self._count or key < -self._largest[0]

    def _take(self, key: int, text: str) -> None:
        if key in self._held:
            self._left_out[COPY] += 1
        elif self._has_room_for(key):
            self._held[key] = text
            heapq.heappush(self._largest, -key)
            if len(self._held) > self._count:
                del self._held[-heapq.heappop(self._largest)]
