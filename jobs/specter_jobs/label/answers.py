"""Labels of all papers of a shard, from the model and from known labels, and the columns of the label file."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.metrics.expected_sums import ExpectedSums
from specter_batch.model.ranking import Predictions, Ranking
from specter_jobs.database import vectors_in
from specter_jobs.output.label_form import LabelForm
from specter_jobs.output.labelled_shard import Gaps
from specter_jobs.output.schema import (
    EMBEDDING,
    LOGITS,
    MARGIN,
    PROBABILITIES,
    RUNNER_UP,
    STAMPED_BUNDLE,
    STAMPED_NIGHT,
    TOP_LABELS,
    TOP_SCORES,
)
from specter_jobs.plan.shards import Mask, Shard

Rows = npt.NDArray[np.int64] | list[int]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Labels and scores of the usable papers of a shard, filled in from several sources.

    Attributes:
        label_id: Predicted label ids, `(n_papers,)` int64.
        score: Calibrated probabilities of the predicted labels, `(n_papers,)` float64.
        logits: Logits `(n_papers, n_labels)` float32; NaN in rows whose logits are not known.
        probabilities: Calibrated probabilities of all labels, `(n_papers, n_labels)` float64; NaN if not known.
        runner_up: Ids of the second most likely labels, `(n_papers,)` int64. They are only valid for papers with
            `has_margin`.
        margin: Probability of the best label minus that of the second, `(n_papers,)` float64; NaN if not known.
        is_finite: False for papers for which the model gave NaN or infinity, `(n_papers,)` bool. They have no label.
        embeddings: Vectors `(n_papers, hidden_size)` float16; None if the label files have none.
    """

    label_id: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]
    runner_up: npt.NDArray[np.int64]
    margin: npt.NDArray[np.float64]
    is_finite: Mask
    embeddings: npt.NDArray[np.float16] | None = None

    @classmethod
    def empty(cls, n_papers: int, n_labels: int, *, embedding_size: int | None = None) -> "Answers":
        """Return answers to be filled in; without `embedding_size` they have no vectors."""
        return cls(
            label_id=np.zeros(n_papers, np.int64),
            score=np.zeros(n_papers),
            logits=np.full((n_papers, n_labels), np.nan, np.float32),
            probabilities=np.full((n_papers, n_labels), np.nan),
            runner_up=np.zeros(n_papers, np.int64),
            margin=np.full(n_papers, np.nan),
            is_finite=np.ones(n_papers, np.bool_),
            embeddings=None if embedding_size is None else np.zeros((n_papers, embedding_size), np.float16),
        )

    @property
    def has_logits(self) -> Mask:
        """True for papers whose logits are known, `(n_papers,)` bool."""
        return np.asarray(~np.isnan(self.logits).any(axis=1))

    @property
    def has_probabilities(self) -> Mask:
        """True for papers whose probabilities are known, `(n_papers,)` bool."""
        return np.asarray(~np.isnan(self.probabilities).any(axis=1))

    @property
    def has_margin(self) -> Mask:
        """True for papers whose runner-up and margin are known, `(n_papers,)` bool."""
        return np.asarray(~np.isnan(self.margin))

    def gaps(self, papers: Mask, *, logits: bool) -> Gaps:
        """Count the papers `(n_papers,)` bool that lack values; `logits` tells whether the label files have logits."""
        return Gaps(
            without_margin=int((papers & ~self.has_margin).sum()),
            without_logits=int((papers & ~self.has_logits).sum()) if logits else 0,
        )

    def ranking(self, *, k: int = 2) -> Ranking:
        """Return the `k` most likely labels of each paper. They are only valid for papers with `has_probabilities`.

        Without logits the runner-up of the paper stays the second label. Stored probabilities are rounded, so those of
        nearly equal labels do not tell which one is second, and could exceed the score.
        """
        rounded = ~self.has_logits
        ordered_by = np.where(rounded[:, None], self.probabilities, self.logits)
        second = np.flatnonzero(rounded & self.has_margin)
        ordered_by[second, self.runner_up[second]] = 2.0  # before all probabilities
        ranking = Ranking.of(self.label_id, ordered_by, self.probabilities, k=k)
        ranking.score[rounded] = np.minimum(ranking.score[rounded], self.score[rounded, None])
        return ranking

    def fill(self, rows: Rows, found: Predictions) -> None:
        """Use predictions, in their order, as the answers of the papers `rows`."""
        self.label_id[rows] = found.label_id
        self.score[rows] = found.score
        self.logits[rows] = found.logits
        self.probabilities[rows] = found.probabilities
        ranking = found.ranking()
        self.runner_up[rows], self.margin[rows] = ranking.runner_up, ranking.margin
        self.is_finite[rows] = found.is_finite
        if self.embeddings is not None and found.embeddings is not None:
            with np.errstate(over="ignore"):  # numbers beyond the range of float16 become infinite
                self.embeddings[rows] = found.embeddings

    def copy(self, row: int, source: int) -> None:
        """Give a paper the answer of another paper."""
        of_labels = (self.label_id, self.score, self.logits, self.probabilities, self.runner_up, self.margin)
        for column in (*of_labels, self.is_finite):
            column[row] = column[source]
        if self.embeddings is not None:
            self.embeddings[row] = self.embeddings[source]

    def fill_known(self, rows: npt.NDArray[np.int64], labelled: pa.Table, form: LabelForm) -> None:
        """Use known labels as the answers of the papers `rows`.

        Values computed from the logits replace all others. Without logits, the stored score, runner-up and margin are
        used, because the stored probabilities are rounded to float32.

        Args:
            rows: Papers `(n_known,)`.
            labelled: Rows of label files for these papers.
            form: The columns of the night's label files.
        """
        self.label_id[rows] = labelled["label_id"].to_numpy()
        self.score[rows] = labelled["score"].to_numpy()
        if PROBABILITIES in labelled.column_names:
            known, values = _lists(labelled[PROBABILITIES])
            papers = rows[known]
            self.probabilities[papers] = values
            self.probabilities[papers, self.label_id[papers]] = self.score[papers]
            ranking = Ranking.of(self.label_id[papers], values, self.probabilities[papers], k=2)
            self.runner_up[papers], self.margin[papers] = ranking.runner_up, ranking.margin
        if {RUNNER_UP, MARGIN}.issubset(labelled.column_names):
            names = pa.array(form.labels.names, pa.string())
            number = pc.index_in(labelled[RUNNER_UP].cast(pa.string()), names)
            stored = pc.and_(number.is_valid(), labelled[MARGIN].is_valid()).to_numpy()
            self.runner_up[rows[stored]] = number.fill_null(0).to_numpy()[stored]
            self.margin[rows[stored]] = labelled[MARGIN].to_numpy()[stored]
        if LOGITS in labelled.column_names:
            known, values = _lists(labelled[LOGITS])
            self.fill(rows[known], Predictions.from_logits(values, temperature=form.logit_divisor))
        if self.embeddings is not None and EMBEDDING in labelled.column_names:
            self.embeddings[rows] = vectors_in(labelled[EMBEDDING]).reshape(len(rows), self.embeddings.shape[1])


def expected_sums(answers: Answers) -> ExpectedSums | None:
    """Add up the probabilities of the papers that have a label; None if probabilities of a paper are not known."""
    kept = answers.is_finite
    if not answers.has_probabilities[kept].all():
        return None
    return ExpectedSums.count(answers.label_id[kept], answers.score[kept], answers.probabilities[kept])


def _lists(column: pa.ChunkedArray) -> tuple[Mask, npt.NDArray[np.float32]]:
    """Return which lists of a column are not null, `(n,)` bool, and the values of these lists, `(n_there, size)`."""
    there = column.is_valid().to_numpy()
    values = column.filter(pa.array(there)).combine_chunks().flatten().to_numpy()
    return there, values.reshape(-1, column.type.list_size)


def answer_columns(form: LabelForm, shard: Shard, rows: npt.NDArray[np.int64], answers: Answers) -> dict[str, pa.Array]:
    """Return the columns of a label file that are computed from the answers and from the places of the papers.

    Args:
        form: Columns of the night's label files.
        shard: The shard.
        rows: Rows of the papers within the shard, `(n_papers,)`.
        answers: The labels of these papers.
    """
    n = len(rows)
    names = pa.array(form.labels.names, pa.string())
    unknown = ~answers.has_margin
    partitions = shard.file.partitions
    return {
        "label": names.take(pa.array(answers.label_id)),
        "label_id": pa.array(answers.label_id, pa.int32()),
        "score": pa.array(answers.score, pa.float64()),
        "file": _same(shard.file.name, n),
        "row": pa.array(shard.start + rows, pa.int64()),
        RUNNER_UP: names.take(pa.array(answers.runner_up, mask=unknown)),
        MARGIN: pa.array(answers.margin, pa.float64(), mask=unknown),
        STAMPED_BUNDLE: _same(form.bundle, n),
        STAMPED_NIGHT: pa.repeat(pa.scalar(form.night, pa.date32()), n),
        **{form.input_names[name]: _same(partitions.get(name), n) for name in form.partitions},
        **_asked_for(form, answers),
    }


def _asked_for(form: LabelForm, answers: Answers) -> dict[str, pa.Array]:
    """Return the optional columns with several values for each paper."""
    known, k = answers.has_probabilities, form.columns.top_k
    columns: dict[str, pa.Array] = {}
    if form.columns.probabilities:
        columns[PROBABILITIES] = _list_column(answers.probabilities, known)
    if k:
        names, ranking = pa.array(form.labels.names, pa.string()), answers.ranking(k=k)
        ends, unknown = pa.array(np.arange(len(known) + 1, dtype=np.int32) * k), pa.array(~known)
        top = names.take(pa.array(ranking.label_id[:, :k].ravel()))
        columns[TOP_LABELS] = pa.ListArray.from_arrays(ends, top, mask=unknown)
        scores = pa.array(ranking.score[:, :k].ravel())
        columns[TOP_SCORES] = pa.ListArray.from_arrays(ends, scores, mask=unknown)
    if answers.embeddings is not None:
        flat = pa.array(answers.embeddings.ravel())
        columns[EMBEDDING] = pa.FixedSizeListArray.from_arrays(flat, answers.embeddings.shape[1])
    if form.columns.logits:
        columns[LOGITS] = _list_column(answers.logits, answers.has_logits)
    return columns


def _same(value: str | None, n: int) -> pa.Array:
    """Return a text column of `n` equal values."""
    return pa.nulls(n, pa.string()) if value is None else pa.repeat(pa.scalar(value, pa.string()), n)


def _list_column(values: npt.NDArray[np.floating], known: Mask) -> pa.FixedSizeListArray:
    """Return values `(n, size)` as a column of lists, null where they are not known."""
    flat = pa.array(values.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=None if known.all() else pa.array(~known))
