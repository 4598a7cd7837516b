"""The driver's part of labelling: turn answers of workers and known labels into the files of shards."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specter_batch.errors import ShardError
from specter_batch.logs import log
from specter_batch.metrics.f1 import score_bins
from specter_batch.metrics.score_report import N_SCORE_BINS
from specter_batch.metrics.scores import Scores
from specter_batch.papers.screening import NOT_FINITE_DETAIL
from specter_batch.storage.location import Location
from specter_jobs.label.answers import Answers, answer_columns, expected_sums
from specter_jobs.label.audit_counts import audit_counts
from specter_jobs.label.engines.messages import ShardAnswer, ShardTask, WorkerOutcome, WorkerTask
from specter_jobs.label.fresh import FinishedShard
from specter_jobs.label.screened_shard import ScreenedShard
from specter_jobs.output.label_form import LabelForm
from specter_jobs.output.labelled_shard import LabelledShard, ShardSums
from specter_jobs.output.ledger import Ledger
from specter_jobs.output.title_only import TitleOnlySums
from specter_jobs.output.writer import write_shard
from specter_jobs.plan.audit_size import AuditChoice
from specter_jobs.plan.decisions import DeduplicatedShard
from specter_jobs.plan.shard_keys import RunKeys
from specter_jobs.plan.shards import Mask, Shard
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.rejects import reject_table
from specter_jobs.workers.scheduler import Scheduler


class ShardPipeline:
    """Labels shards with the workers of a scheduler.

    Args:
        scheduler: Scheduler that gives shards to the workers.
        deduplication: Decisions about each shard.
        ledger: Ledger that gets an entry for each shard whose files are written.
        out: The output folder.
        form: Columns of the label files.
        audit: Which papers are labelled by the fp32 graph too; None for no paper.
    """

    def __init__(
        self,
        scheduler: Scheduler[WorkerTask, WorkerOutcome],
        *,
        deduplication: Deduplication,
        ledger: Ledger,
        out: Location,
        form: LabelForm,
        audit: AuditChoice | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._deduplication = deduplication
        self._ledger, self._out, self._form = ledger, out, form
        self._audit = audit

    def run(
        self, shards: Sequence[DeduplicatedShard]
    ) -> Iterator[tuple[DeduplicatedShard, FinishedShard | ShardError]]:
        """Label shards and write their files. Yield each shard when it is finished or has failed.

        A shard that copies labels of another shard comes after that shard.
        """
        tasks = map(self._task, shards)
        unsettled = {shard.shard.name for shard in shards}
        waiting: dict[int, tuple[ShardTask, ShardAnswer]] = {}
        for task, outcome in self._scheduler.outcomes(tasks, n_tasks=len(shards)):
            if not isinstance(task, ShardTask) or isinstance(outcome, RunKeys):
                continue  # keys of shards are read before any shard is labelled
            name = task.name
            if isinstance(outcome, ShardError):
                unsettled.discard(name)
                yield task.deduplicated, outcome
            else:
                for level, message, fields in outcome.logs:
                    log(message, level=level, **fields)
                waiting[task.number] = replace(task, papers=None), outcome
            # Shards only wait for earlier ones, so one pass in the plan's order finishes all shards that can be
            # finished.
            for number in sorted(waiting):
                held, answer = waiting[number]
                if unsettled.isdisjoint(set(answer.screened.copies.values()) - {held.deduplicated.shard.name}):
                    del waiting[number]
                    settled = self._settled(held, answer)
                    if settled is not None:
                        unsettled.discard(held.deduplicated.shard.name)
                        yield held.deduplicated, settled

    def _task(self, shard: DeduplicatedShard) -> ShardTask:
        return ShardTask(
            number=shard.number,
            name=shard.shard.name,
            deduplicated=shard,
            decisions=self._deduplication.decisions(shard.number),
            papers=self._deduplication.take_papers(shard.number),
            embeddings=self._form.embedding_size is not None,
            audit=self._audit,
        )

    def _settled(self, task: ShardTask, answer: ShardAnswer) -> FinishedShard | ShardError | None:
        try:
            labelled = self._labelled(task, answer)
        except (OSError, pa.ArrowException) as error:
            name = task.deduplicated.shard.name
            return ShardError(f"{name}: the labels of equal texts in other shards cannot be read: {error}; rerun")
        return None if labelled is None else self._written(task.deduplicated, labelled)

    def _written(self, deduplicated: DeduplicatedShard, labelled: LabelledShard) -> FinishedShard | ShardError:
        """Write a shard's files and then its ledger entry."""
        name, sums = deduplicated.shard.name, labelled.sums
        accounted = labelled.labels.num_rows + labelled.rejects.num_rows
        if accounted != deduplicated.shard.rows:
            return ShardError(
                f"{name}: {accounted} rows labelled or rejected of {deduplicated.shard.rows}; the shard was dropped, "
                "please report this"
            )
        try:
            labels, rejects = write_shard(self._out, name, labelled)
            entry = self._ledger.commit(deduplicated, sums, labels=labels, rejects=rejects)
        except OSError as error:
            return ShardError(str(error))
        return FinishedShard(
            entry=entry,
            model_seconds=sums.model_seconds,
            audit_seconds=sums.audit_seconds,
            max_batch_tokens=sums.max_batch_tokens,
        )

    def _labelled(self, task: ShardTask, answer: ShardAnswer) -> LabelledShard | None:
        """Return a shard's outputs; None if the model has to label more of its papers first."""
        screened, labels = answer.screened, self._form.labels
        answers, unanswered = self._answers(task, answer)
        if unanswered:
            self._scheduler.again(replace(task, unanswered=task.unanswered | unanswered))
            return None
        kept = answers.is_finite
        reused = np.zeros(len(screened.hashes), dtype=np.bool_)
        reused[screened.known["row"].to_numpy()] = True
        reused[list(screened.copies)] = True
        title_only = screened.title_only & kept
        columns = {
            "paper_id": screened.paper_ids,
            "text_hash": pa.array(screened.hashes, pa.string()),
            "reused": pa.array(reused),
            "true_label": screened.truth.names,
            "seen_in_training": screened.truth.seen_in_training,
        }
        labelled = label_table(self._form, task.deduplicated.shard, screened.rows, answers, columns, screened.kept)
        rejects = _with_not_finite(screened, kept, task.deduplicated.shard)
        sums = ShardSums(
            reused=int((reused & kept).sum()),
            gaps=answers.gaps(kept, logits=self._form.columns.logits),
            rejects_by_reason=dict(sorted(Counter(rejects["reason"].to_pylist()).items())),
            scores=_scores(screened, answers, kept),
            unknown_labels=int((screened.truth.unknown & kept).sum()),
            undecided=screened.undecided,
            label_papers=np.bincount(answers.label_id[kept], minlength=len(labels)),
            bin_papers=np.bincount(score_bins(answers.score[kept]), minlength=N_SCORE_BINS),
            score_sum=float(answers.score[kept].sum()),
            expected=expected_sums(answers),
            title_only=(
                _title_only_sums(answers, title_only, _scores(screened, answers, title_only))
                if title_only.any()
                else None
            ),
            audit=(
                audit_counts(
                    answer.audit, answers.label_id, kept, screened, shard=task.deduplicated.shard, form=self._form
                )
                if answer.audit is not None
                else None
            ),
            token_differences=answer.token_differences,
            seconds=answer.seconds,
            model_seconds=answer.model_seconds,
            audit_seconds=answer.audit.seconds if answer.audit is not None else 0.0,
            max_batch_tokens=answer.max_batch_tokens,
        )
        return LabelledShard(labels=labelled, rejects=rejects, sums=sums)

    def _answers(self, task: ShardTask, answer: ShardAnswer) -> tuple[Answers, frozenset[str]]:
        """Gather the predictions of all papers: from earlier nights, from the model, and from equal texts.

        Returns:
            The predictions, and the hashes of texts without a prediction, because another shard should have labelled
            them and did not.
        """
        screened, hashes = answer.screened, answer.screened.hashes
        answers = Answers.empty(len(hashes), len(self._form.labels), embedding_size=self._form.embedding_size)
        answers.fill_known(screened.known["row"].to_numpy(), screened.known, self._form)
        fresh = screened.fresh
        answers.fill(fresh, answer.predictions)
        first = {hashes[position]: position for position in reversed(fresh)}
        answered = set(fresh)
        copies = {position: owner for position, owner in screened.copies.items() if position not in answered}
        unanswered: set[str] = set()
        for owner in sorted(set(copies.values())):
            rows = np.array([position for position, name in copies.items() if name == owner])
            file = None if owner == task.deduplicated.shard.name else self._ledger.label_file(owner)
            if file is not None:
                labelled = pq.read_table(pa.BufferReader(file.read_bytes()))
                at = pc.index_in(pa.array([hashes[row] for row in rows]), labelled["text_hash"].combine_chunks())
                there = at.is_valid().to_numpy(zero_copy_only=False)  # not all, if the file is of an earlier try
                answers.fill_known(rows[there], labelled.take(at.drop_null()), self._form)
                rows = rows[~there]
            for row in rows:
                source = first.get(hashes[row])
                if source is None:
                    unanswered.add(hashes[row])
                    continue
                answers.copy(row, source)
        return answers, frozenset(unanswered)


def _with_not_finite(screened: ScreenedShard, kept: Mask, shard: Shard) -> pa.Table:
    """Return the shard's rejects with the papers for which the model gave NaN or infinity, in the order of the rows."""
    at = np.flatnonzero(~kept)
    if not len(at):
        return screened.rejects
    rejects = reject_table(
        shard,
        screened.rows[at].tolist(),
        paper_ids=screened.paper_ids.take(pa.array(at)),
        reasons=["not_finite"] * len(at),
        details=[NOT_FINITE_DETAIL] * len(at),
    )
    return pa.concat_tables([screened.rejects, rejects]).sort_by("row")


def _scores(screened: ScreenedShard, answers: Answers, papers: Mask) -> Scores:
    """Count the papers `(n_papers,)` bool that came with a true label."""
    truth, n_labels = screened.truth, answers.probabilities.shape[1]
    chosen = papers[truth.scored]
    return Scores.count(
        truth.label_id[chosen],
        answers.label_id[truth.scored & papers],
        answers.score[truth.scored & papers],
        seen=truth.seen[chosen],
        n_labels=n_labels,
    )


def _title_only_sums(answers: Answers, papers: Mask, scores: Scores) -> TitleOnlySums:
    """Add up the answers of some papers, `(n_papers,)` bool; `scores` are of these alone."""
    counts = np.bincount(answers.label_id[papers], minlength=answers.probabilities.shape[1])
    return TitleOnlySums(
        papers=int(papers.sum()),
        label_papers=tuple(counts.tolist()),
        score_sum=float(answers.score[papers].sum()),
        scores=scores.as_json(),
    )


def label_table(
    form: LabelForm,
    shard: Shard,
    rows: npt.NDArray[np.int64],
    answers: Answers,
    columns: Mapping[str, pa.Array | pa.ChunkedArray],
    kept: pa.Table | None,
) -> pa.Table:
    """Return the label file of a shard as a table: the papers that have a label, in the order of the input.

    Args:
        form: Columns of the night's label files.
        shard: The shard.
        rows: Rows of its usable papers within the shard, `(n_papers,)`.
        answers: The labels of these papers.
        columns: The columns of the label file that do not follow from the answers, for these papers.
        kept: The columns of the input that the files keep, for these papers; None if there are none.
    """
    every = {**columns, **answer_columns(form, shard, rows, answers)}
    if kept is not None:
        every |= {form.input_names[name]: kept[name] for name in form.kept.names}
    table = pa.table([every[name] for name in form.schema.names], schema=form.schema)
    return table if answers.is_finite.all() else table.filter(pa.array(answers.is_finite))
