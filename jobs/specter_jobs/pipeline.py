"""One shard's way from rows to labels: prepared ahead on one thread while the model works on the shard before."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.bundle import ModelBundle
from specter_batch.encoding import TokenIds
from specter_batch.errors import ShardError
from specter_batch.language import EnglishFilter
from specter_batch.metrics import N_SCORE_BINS, score_bins
from specter_batch.papers import PaperBatch, paper_text, text_hash
from specter_batch.runtime import OnnxClassifier
from specter_batch.scores import Scores, seen_in_training
from specter_jobs.config import NightConfig
from specter_jobs.rejects import screen_columns
from specter_jobs.shards import Shard, ShardReader
from specter_jobs.survey import SurveyedShard


@dataclass(frozen=True, kw_only=True)
class PreparedShard:
    """A shard read, screened and tokenized.

    Attributes:
        rejects: `REJECT_SCHEMA`.
        papers: The usable papers, `PAPER_SCHEMA`, in input order; the other fields go with them row by row.
    """

    shard: Shard
    rejects: pa.Table
    papers: pa.Table
    texts: list[str]
    token_ids: list[TokenIds]


@dataclass(frozen=True, kw_only=True)
class LabelledShard:
    """A shard's outputs and the sums that the report is made of.

    Attributes:
        labels: `paper_id, label, label_id, score, text_hash`, and `probabilities` on request.
        scores: Of the papers whose true label came with the input.
        unknown_labels: Papers whose true label is not one of the model's; they are not scored.
        label_papers: `(n_labels,)` int64: papers by predicted label.
        bin_papers: `(N_SCORE_BINS,)` int64: papers by score.
        score_sum: Of all papers.
    """

    labels: pa.Table
    rejects: pa.Table
    scores: Scores
    unknown_labels: int
    label_papers: npt.NDArray[np.int64]
    bin_papers: npt.NDArray[np.int64]
    score_sum: float


class ShardPipeline:
    """Labels shards with one bundle on one device."""

    def __init__(self, bundle: ModelBundle, classifier: OnnxClassifier, config: NightConfig) -> None:
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
        """Read a shard, reject what cannot be labelled and tokenize the rest.

        Raises:
            ShardError: It cannot be read.
        """
        shard = surveyed.shard
        papers = self._reader.read(shard)
        screening = screen_columns(papers, missing_abstract=self._config.missing_abstract)
        duplicate = np.zeros(len(papers), dtype=np.bool_)
        duplicate[list(surveyed.duplicates)] = True
        screening.reject(duplicate, "duplicate_id", lambda row: surveyed.duplicates[row])
        if self._english is not None:
            found = self._foreign_languages(self._english, papers, screening.usable)
            foreign = np.zeros(len(papers), dtype=np.bool_)
            foreign[list(found)] = True
            screening.reject(foreign, "not_english", lambda row: found[row])
        usable = papers.table.filter(pa.array(screening.usable))
        pairs = zip(usable["title"].to_pylist(), usable["abstract"].to_pylist(), strict=True)
        texts = [paper_text(title, abstract, self._template) for title, abstract in pairs]
        return PreparedShard(
            shard=shard,
            rejects=screening.table(shard, papers),
            papers=usable,
            texts=texts,
            token_ids=self._encoder.encode(texts),
        )

    def label(self, prepared: PreparedShard) -> LabelledShard:
        """Run the model over a prepared shard."""
        labels, config = self._labels, self._config
        predictions = self._classifier.predict(prepared.token_ids)
        columns = {
            "paper_id": prepared.papers["paper_id"],
            "label": pa.array(labels.names, pa.string()).take(pa.array(predictions.label_id)),
            "label_id": pa.array(predictions.label_id, pa.int32()),
            "score": pa.array(predictions.score, pa.float64()),
            "text_hash": pa.array([text_hash(text) for text in prepared.texts], pa.string()),
        }
        if config.probabilities:
            flat = pa.array(predictions.probabilities.ravel(), pa.float64()).cast(pa.float32())
            columns["probabilities"] = pa.FixedSizeListArray.from_arrays(flat, len(labels))

        values = prepared.papers["label"].to_pylist()
        true_ids = [None if value is None or not value.strip() else labels.find(value) for value in values]
        labelled = np.array([true is not None for true in true_ids], dtype=np.bool_)
        true = np.array([true for true in true_ids if true is not None], dtype=np.int64)
        scored_texts = [text for text, known in zip(prepared.texts, labelled, strict=True) if known]
        return LabelledShard(
            labels=pa.table(columns),
            rejects=prepared.rejects,
            scores=Scores.count(
                true,
                predictions.label_id[labelled],
                predictions.score[labelled],
                seen=seen_in_training(scored_texts, self._seen_texts),
                n_labels=len(labels),
            ),
            unknown_labels=sum(
                value is not None and bool(value.strip()) and true is None
                for value, true in zip(values, true_ids, strict=True)
            ),
            label_papers=np.bincount(predictions.label_id, minlength=len(labels)),
            bin_papers=np.bincount(score_bins(predictions.score), minlength=N_SCORE_BINS),
            score_sum=float(predictions.score.sum()),
        )

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
