"""A shard's way from rows to labels: the next ones are screened and tokenized while the model is at work."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specter_batch.bundle import ModelBundle
from specter_batch.encoding import TokenIds
from specter_batch.errors import ShardError
from specter_batch.metrics import N_SCORE_BINS, score_bins
from specter_batch.papers import is_blank
from specter_batch.runtime import OnnxClassifier, Predictions
from specter_batch.scores import Scores
from specter_batch.storage import Location
from specter_jobs.config import NightConfig
from specter_jobs.prepare import ScreenedShard, ShardPreparer
from specter_jobs.rejects import Mask
from specter_jobs.slices import PaperSlice
from specter_jobs.survey import Survey, SurveyedShard

# One is screened, one tokenized, while the model works on a third: Python's own code in the first leaves a core to the
# tokenizer in the second. More would only hold more papers in memory.
SHARDS_AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class PreparedShard:
    """A screened shard and the token ids, by position, of the papers that no earlier night has labelled."""

    screened: ScreenedShard
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
        title_only: Sums over the papers without abstract; None when there are none.
        model_seconds: How long the model was at work.
    """

    labels: pa.Table
    reused: int
    rejects: pa.Table
    scores: Scores
    unknown_labels: int
    label_papers: npt.NDArray[np.int64]
    bin_papers: npt.NDArray[np.int64]
    score_sum: float
    title_only: PaperSlice | None
    model_seconds: float


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
        label_file: Callable[[str], Location | None],
    ) -> None:
        self._preparer = ShardPreparer(bundle, config, survey=survey)
        self._label_file = label_file
        self._labels = bundle.labels
        self._classifier = classifier
        self._probabilities = config.probabilities

    def run(self, shards: Sequence[SurveyedShard]) -> Iterator[tuple[SurveyedShard, LabelledShard | ShardError]]:
        """Yield each shard with its outcome, in order."""
        with (
            ThreadPoolExecutor(1, thread_name_prefix="screen") as screening,
            ThreadPoolExecutor(1, thread_name_prefix="tokenize") as tokenizing,
        ):
            submitted = (
                (shard, tokenizing.submit(self._tokenize, screening.submit(self._preparer.screen, shard)))
                for shard in shards
            )
            ahead = deque(islice(submitted, SHARDS_AHEAD))
            try:
                while ahead:
                    shard, coming = ahead.popleft()
                    ahead.extend(islice(submitted, 1))
                    try:
                        yield shard, self.label(coming.result())
                    except ShardError as error:
                        yield shard, error
                    except Exception as error:
                        # One shard's trouble, whatever it is, must not cost the others their night.
                        yield shard, ShardError(f"{shard.shard.name}: {type(error).__name__}: {error}")
            finally:
                screening.shutdown(wait=False, cancel_futures=True)
                tokenizing.shutdown(wait=False, cancel_futures=True)

    def label(self, prepared: PreparedShard) -> LabelledShard:
        """Run the model over what is not known of a prepared shard."""
        labels, screened, truth = self._labels, prepared.screened, prepared.screened.truth
        answers, model_seconds = self._answers(prepared)
        reused = np.zeros(len(screened.hashes), dtype=np.bool_)
        reused[screened.known["row"].to_numpy()] = True
        reused[list(screened.copies)] = True
        columns = {
            "paper_id": screened.papers["paper_id"],
            "label": pa.array(labels.names, pa.string()).take(pa.array(answers.label_id)),
            "label_id": pa.array(answers.label_id, pa.int32()),
            "score": pa.array(answers.score, pa.float64()),
            "text_hash": pa.array(screened.hashes, pa.string()),
            "reused": pa.array(reused),
        }
        if self._probabilities:
            flat = pa.array(answers.probabilities.astype(np.float32).ravel())
            columns["probabilities"] = pa.FixedSizeListArray.from_arrays(flat, len(labels))

        def scores_of(papers: Mask) -> Scores:
            chosen = papers[truth.scored]
            return Scores.count(
                truth.label_id[chosen],
                answers.label_id[truth.scored & papers],
                answers.score[truth.scored & papers],
                seen=truth.seen[chosen],
                n_labels=len(labels),
            )

        title_only = is_blank(screened.papers["abstract"])
        return LabelledShard(
            labels=pa.table(columns),
            reused=int(reused.sum()),
            rejects=screened.rejects,
            scores=scores_of(np.ones_like(title_only)),
            unknown_labels=truth.unknown,
            label_papers=np.bincount(answers.label_id, minlength=len(labels)),
            bin_papers=np.bincount(score_bins(answers.score), minlength=N_SCORE_BINS),
            score_sum=float(answers.score.sum()),
            title_only=PaperSlice.of(answers, title_only, scores_of(title_only)) if title_only.any() else None,
            model_seconds=model_seconds,
        )

    def _tokenize(self, coming: Future[ScreenedShard]) -> PreparedShard:
        screened = coming.result()
        return PreparedShard(screened=screened, token_ids=self._preparer.tokenize(screened))

    def _answers(self, prepared: PreparedShard) -> tuple[Predictions, float]:
        """Gather every paper's prediction: from earlier nights, from the model, and from equal texts of tonight.

        Returns:
            The predictions, and the seconds that the model was at work.
        """
        screened, hashes = prepared.screened, prepared.screened.hashes
        answers = Predictions(
            label_id=np.zeros(len(hashes), np.int64),
            score=np.zeros(len(hashes)),
            probabilities=np.zeros((len(hashes), len(self._labels))),
        )
        _fill(answers, screened.known["row"].to_numpy(), screened.known)
        copies = dict(screened.copies)
        for name in sorted(set(copies.values()) - {screened.shard.name}):
            file = self._label_file(name)
            if file is None:
                continue  # that shard failed; the model is asked again and says the same
            labelled = pq.read_table(pa.BufferReader(file.read_bytes()))
            rows = np.array([position for position, owner in copies.items() if owner == name])
            found = pc.index_in(pa.array([hashes[row] for row in rows]), labelled["text_hash"].combine_chunks())
            there = found.is_valid().to_numpy(zero_copy_only=False)  # not all are, if the file is of an earlier try
            _fill(answers, rows[there], labelled.take(found.drop_null()))
            copies = {position: owner for position, owner in copies.items() if position not in set(rows[there])}
        own_copies = [position for position, owner in copies.items() if owner == screened.shard.name]
        to_run = sorted(set(prepared.token_ids) - set(screened.copies) | (set(copies) - set(own_copies)))
        began = time.monotonic()
        predictions = self._classifier.predict([prepared.token_ids[position] for position in to_run])
        model_seconds = time.monotonic() - began
        answers.label_id[to_run] = predictions.label_id
        answers.score[to_run] = predictions.score
        answers.probabilities[to_run] = predictions.probabilities
        first = {hashes[position]: position for position in reversed(to_run)}
        for position in own_copies:
            source = first[hashes[position]]
            answers.label_id[position] = answers.label_id[source]
            answers.score[position] = answers.score[source]
            answers.probabilities[position] = answers.probabilities[source]
        return answers, model_seconds


def _fill(answers: Predictions, rows: npt.NDArray[np.int64], labelled: pa.Table) -> None:
    """Copy `label_id`, `score` and, where there, `probabilities` of label files into rows of the answers."""
    answers.label_id[rows] = labelled["label_id"].to_numpy()
    answers.score[rows] = labelled["score"].to_numpy()
    if "probabilities" in labelled.column_names and len(rows):
        answers.probabilities[rows] = np.array(labelled["probabilities"].to_pylist())
