"""One shard's way from rows to labels: prepared ahead on one thread while the model works on the shard before."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specter_batch.bundle import ModelBundle
from specter_batch.encoding import TokenIds
from specter_batch.errors import ShardError
from specter_batch.language import EnglishFilter
from specter_batch.metrics import N_SCORE_BINS, score_bins
from specter_batch.papers import PaperBatch, paper_text, text_hash
from specter_batch.runtime import OnnxClassifier, Predictions
from specter_batch.scores import Scores, seen_in_training
from specter_jobs.config import NightConfig
from specter_jobs.rejects import screen_columns
from specter_jobs.shards import Shard, ShardReader
from specter_jobs.survey import Survey, SurveyedShard, content_hash


@dataclass(frozen=True, kw_only=True)
class PreparedShard:
    """A shard read, screened and tokenized.

    Attributes:
        rejects: `REJECT_SCHEMA`.
        papers: The usable papers, `PAPER_SCHEMA`, in input order; the other fields go with them by position.
        known: `row, label_id, score` (and `probabilities`) of papers labelled in an earlier night; `row` is a position.
        copies: Position -> name of the shard in which the same text stands earlier tonight.
        token_ids: By position, of the papers that are not known.
    """

    shard: Shard
    rejects: pa.Table
    papers: pa.Table
    texts: list[str]
    known: pa.Table
    copies: dict[int, str]
    token_ids: dict[int, TokenIds]


@dataclass(frozen=True, kw_only=True)
class LabelledShard:
    """A shard's outputs and the sums that the report is made of.

    Attributes:
        labels: `paper_id, label, label_id, score, text_hash, reused`, and `probabilities` on request.
        reused: How many of them took the label of an equal text.
        scores: Of the papers whose true label came with the input.
        unknown_labels: Papers whose true label is not one of the model's; they are not scored.
        label_papers: `(n_labels,)` int64: papers by predicted label.
        bin_papers: `(N_SCORE_BINS,)` int64: papers by score.
        score_sum: Of all papers.
    """

    labels: pa.Table
    reused: int
    rejects: pa.Table
    scores: Scores
    unknown_labels: int
    label_papers: npt.NDArray[np.int64]
    bin_papers: npt.NDArray[np.int64]
    score_sum: float


class ShardPipeline:
    """Labels shards with one bundle on one device.

    Args:
        bundle: The opened bundle.
        classifier: Its session.
        config: Of the night.
        survey: What was decided of each shard.
        label_file: Returns the label file of a finished shard by name, None while it is not finished.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        classifier: OnnxClassifier,
        config: NightConfig,
        *,
        survey: Survey,
        label_file: Callable[[str], Path | None],
    ) -> None:
        self._survey = survey
        self._label_file = label_file
        self._labels = bundle.labels
        self._template = bundle.text_template
        self._classifier = classifier
        self._encoder = bundle.text_encoder()
        self._seen_texts = bundle.seen_texts()
        self._config = config
        self._english = EnglishFilter() if config.language == "en" else None
        self._reader = ShardReader()

    def run(self, shards: Sequence[SurveyedShard]) -> Iterator[tuple[SurveyedShard, LabelledShard | ShardError]]:
        """Yield each shard with its outcome, in order; one shard is prepared ahead of the model."""
        with ThreadPoolExecutor(1, thread_name_prefix="prepare") as ahead:
            pending = iter(shards)
            current = next(pending, None)
            coming = None if current is None else ahead.submit(self.prepare, current)
            try:
                while current is not None and coming is not None:
                    following = next(pending, None)
                    prepared, coming = coming, None if following is None else ahead.submit(self.prepare, following)
                    try:
                        yield current, self.label(prepared.result())
                    except ShardError as error:
                        yield current, error
                    except Exception as error:
                        # One shard's trouble, whatever it is, must not cost the others their night.
                        yield current, ShardError(f"{current.shard.name}: {type(error).__name__}: {error}")
                    current = following
            finally:
                ahead.shutdown(cancel_futures=True)

    def prepare(self, surveyed: SurveyedShard) -> PreparedShard:
        """Read a shard, reject what cannot be labelled and tokenize what must be.

        Raises:
            ShardError: It cannot be read, or is no longer what the survey saw.
        """
        shard = surveyed.shard
        papers = self._reader.read(shard)
        if content_hash(papers) != surveyed.rows_hash:
            raise ShardError(f"{shard.file.path}: changed while the job ran; leave it alone and rerun")
        decisions = self._survey.decisions(surveyed.number)
        screening = screen_columns(papers, missing_abstract=self._config.missing_abstract)
        screening.reject_rows(decisions.duplicates, "duplicate_id")
        if self._english is not None:
            screening.reject_rows(self._foreign_languages(self._english, papers, screening.usable), "not_english")
        usable = papers.table.filter(pa.array(screening.usable))
        pairs = zip(usable["title"].to_pylist(), usable["abstract"].to_pylist(), strict=True)
        texts = [paper_text(title, abstract, self._template) for title, abstract in pairs]

        # From rows of the shard to positions among the usable ones; what is not English is nobody's copy either.
        position = np.cumsum(screening.usable) - 1
        known = decisions.known.filter(pa.array(screening.usable[decisions.known["row"].to_numpy()]))
        known_at = position[known["row"].to_numpy()]
        unknown = np.setdiff1d(np.arange(len(texts)), known_at).tolist()
        return PreparedShard(
            shard=shard,
            rejects=screening.table(shard, papers),
            papers=usable,
            texts=texts,
            known=known.set_column(known.column_names.index("row"), "row", pa.array(known_at, pa.int64())),
            copies={int(position[row]): name for row, name in decisions.copies.items() if screening.usable[row]},
            token_ids=dict(zip(unknown, self._encoder.encode([texts[i] for i in unknown]), strict=True)),
        )

    def label(self, prepared: PreparedShard) -> LabelledShard:
        """Run the model over what is not known of a prepared shard."""
        labels = self._labels
        hashes = [text_hash(text) for text in prepared.texts]
        answers = self._answers(prepared, hashes)
        reused = np.zeros(len(hashes), dtype=np.bool_)
        reused[prepared.known["row"].to_numpy()] = True
        reused[list(prepared.copies)] = True
        columns = {
            "paper_id": prepared.papers["paper_id"],
            "label": pa.array(labels.names, pa.string()).take(pa.array(answers.label_id)),
            "label_id": pa.array(answers.label_id, pa.int32()),
            "score": pa.array(answers.score, pa.float64()),
            "text_hash": pa.array(hashes, pa.string()),
            "reused": pa.array(reused),
        }
        if self._config.probabilities:
            flat = pa.array(answers.probabilities.astype(np.float32).ravel())
            columns["probabilities"] = pa.FixedSizeListArray.from_arrays(flat, len(labels))

        values = prepared.papers["label"].to_pylist()
        true_ids = [None if value is None or not value.strip() else labels.find(value) for value in values]
        labelled = np.array([true is not None for true in true_ids], dtype=np.bool_)
        true = np.array([true for true in true_ids if true is not None], dtype=np.int64)
        scored_texts = [text for text, known in zip(prepared.texts, labelled, strict=True) if known]
        return LabelledShard(
            labels=pa.table(columns),
            reused=int(reused.sum()),
            rejects=prepared.rejects,
            scores=Scores.count(
                true,
                answers.label_id[labelled],
                answers.score[labelled],
                seen=seen_in_training(scored_texts, self._seen_texts),
                n_labels=len(labels),
            ),
            unknown_labels=sum(
                value is not None and bool(value.strip()) and true is None
                for value, true in zip(values, true_ids, strict=True)
            ),
            label_papers=np.bincount(answers.label_id, minlength=len(labels)),
            bin_papers=np.bincount(score_bins(answers.score), minlength=N_SCORE_BINS),
            score_sum=float(answers.score.sum()),
        )

    def _answers(self, prepared: PreparedShard, hashes: list[str]) -> Predictions:
        """Gather every paper's prediction: from earlier nights, from the model, and from equal texts of tonight."""
        answers = Predictions(
            label_id=np.zeros(len(hashes), np.int64),
            score=np.zeros(len(hashes)),
            probabilities=np.zeros((len(hashes), len(self._labels))),
        )
        _fill(answers, prepared.known["row"].to_numpy(), prepared.known)
        copies = dict(prepared.copies)
        for name in sorted(set(copies.values()) - {prepared.shard.name}):
            file = self._label_file(name)
            if file is None:
                continue  # that shard failed; the model is asked again and says the same
            labelled = pq.read_table(file)
            rows = np.array([position for position, owner in copies.items() if owner == name])
            found = pc.index_in(pa.array([hashes[row] for row in rows]), labelled["text_hash"].combine_chunks())
            there = found.is_valid().to_numpy(zero_copy_only=False)  # not all are, if the file is of an earlier try
            _fill(answers, rows[there], labelled.take(found.drop_null()))
            copies = {position: owner for position, owner in copies.items() if position not in set(rows[there])}
        own_copies = [position for position, owner in copies.items() if owner == prepared.shard.name]
        to_run = sorted(set(prepared.token_ids) - set(prepared.copies) | (set(copies) - set(own_copies)))
        predictions = self._classifier.predict([prepared.token_ids[position] for position in to_run])
        answers.label_id[to_run] = predictions.label_id
        answers.score[to_run] = predictions.score
        answers.probabilities[to_run] = predictions.probabilities
        first = {hashes[position]: position for position in reversed(to_run)}
        for position in own_copies:
            source = first[hashes[position]]
            answers.label_id[position] = answers.label_id[source]
            answers.score[position] = answers.score[source]
            answers.probabilities[position] = answers.probabilities[source]
        return answers

    @staticmethod
    def _foreign_languages(english: EnglishFilter, papers: PaperBatch, usable: npt.NDArray[np.bool_]) -> dict[int, str]:
        """Return the language of each usable row that is not English."""
        titles, abstracts = papers.table["title"].to_pylist(), papers.table["abstract"].to_pylist()
        found: dict[int, str] = {}
        for row in np.flatnonzero(usable).tolist():
            language = english.language(f"{titles[row]} {abstracts[row] or ''}")
            if language != "en":
                found[row] = language
        return found


def _fill(answers: Predictions, rows: npt.NDArray[np.int64], labelled: pa.Table) -> None:
    """Copy `label_id`, `score` and, where there, `probabilities` of label files into rows of the answers."""
    answers.label_id[rows] = labelled["label_id"].to_numpy()
    answers.score[rows] = labelled["score"].to_numpy()
    if "probabilities" in labelled.column_names and len(rows):
        answers.probabilities[rows] = np.array(labelled["probabilities"].to_pylist())
