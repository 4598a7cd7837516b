"""Labels papers part by part: screening and tokenizing of the next part run while the model labels this one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from specter_batch.classifier.recent_texts import Plan, RecentResults, RecentTexts
from specter_batch.classifier.settings import ClassifierSettings
from specter_batch.classifier.text_columns import PaperRows
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.ranking import Predictions
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.papers.language import EnglishFilter
from specter_batch.papers.screening import NOT_FINITE_DETAIL, Screening, reject_foreign_languages, screen_columns
from specter_batch.papers.text import paper_texts, text_hash

Item = TypeVar("Item")
Result = TypeVar("Result")

# Rows of a part. On a CPU the threads wait for each other at the end of a part, at most for one short paper. On CUDA
# a part fills about a hundred batches.
ROWS_PER_THREAD = 128
CUDA_ROWS = 8192
# Parts that are prepared while the model is busy.
AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """The results for some rows.

    Attributes:
        screening: Rows without a label, with the reasons. `usable` is True for rows with a label.
        rows: Rows that the model has seen, `(n_papers,)` int64.
        predictions: The model's predictions for these rows.
        embeddings: Embeddings of these rows, `(n_papers, hidden_size)` float32; None if they are not computed.
    """

    screening: Screening
    rows: npt.NDArray[np.int64]
    predictions: Predictions
    embeddings: npt.NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    screening: Screening
    rows: npt.NDArray[np.int64]
    plan: Plan
    token_ids: list[TokenIds]


class PaperLabeller:
    """Labels papers with one model. Several threads may use it at once.

    Args:
        bundle: The opened bundle.
        model: The session that runs the bundle.
        rules: Settings that decide which papers are labelled, and how they are tokenized.
    """

    def __init__(self, bundle: ModelBundle, model: OnnxClassifier, rules: ClassifierSettings) -> None:
        self._model, self._rules = model, rules
        self._n_labels, self._logit_divisor = len(bundle.labels), bundle.logit_divisor
        self._template = bundle.text_template
        self._encoder = bundle.text_encoder(rules.tokenizer)
        self._english = EnglishFilter() if rules.language == "en" else None

    @property
    def rows_at_once(self) -> int:
        """The number of rows that a part should have."""
        return ROWS_PER_THREAD * self._model.threads if self._model.device.kind == "cpu" else CUDA_ROWS

    def label(self, parts: Iterable[PaperRows], *, embedding_size: int = 0) -> Iterator[LabelledRows]:
        """Yield the results for each part, in order. Of equal texts, recent ones are labelled once.

        Args:
            parts: The papers; the next parts are read while the model labels this one.
            embedding_size: Size of an embedding; 0 if no embeddings are wanted.
        """
        results = RecentResults(self._n_labels + embedding_size)
        texts = RecentTexts(results.slots)
        for prepared in _ahead(lambda part: self._prepare(part, texts), parts):
            values = results.complete(prepared.plan, self._run(prepared.token_ids, embedding_size))
            predictions = Predictions.from_logits(values[:, : self._n_labels], temperature=self._logit_divisor)
            unlabelled = prepared.rows[~predictions.is_finite].tolist()
            prepared.screening.reject_rows(dict.fromkeys(unlabelled, NOT_FINITE_DETAIL), "not_finite")
            yield LabelledRows(
                screening=prepared.screening,
                rows=prepared.rows,
                predictions=predictions,
                embeddings=values[:, self._n_labels :] if embedding_size else None,
            )

    def _prepare(self, part: PaperRows, texts: RecentTexts) -> _Prepared:
        screening = screen_columns(part.papers, self._rules, ids_needed=False)
        for column, others in part.not_text.items():
            missing = {row: kind for row, kind in others.items() if screening.reasons.get(row) == f"missing_{column}"}
            screening.details |= {row: f"{kind} instead of text" for row, kind in missing.items()}
        if self._english is not None:
            reject_foreign_languages(screening, part.papers, self._english)
        rows = np.flatnonzero(screening.usable)
        papers = list(paper_texts(part.papers.table, self._template, rows=rows))
        plan = texts.plan([text_hash(text) for text in papers])
        token_ids = self._encoder.encode([papers[at] for at in plan.fresh.tolist()])
        return _Prepared(screening=screening, rows=rows, plan=plan, token_ids=token_ids)

    def _run(self, token_ids: list[TokenIds], embedding_size: int) -> npt.NDArray[np.float32]:
        """Return logits and embeddings next to each other, `(n, n_labels + embedding_size)`."""
        if not embedding_size:
            return self._model.logits(token_ids)
        return np.concatenate(self._model.logits_and_embeddings(token_ids), axis=1)


def _ahead(prepare: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `prepare(item)` for each item, in order. One other thread prepares the next items."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="prepare")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(prepare, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
