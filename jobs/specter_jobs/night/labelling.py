"""The labelling of a planned night: deduplicate the papers, label what is not done yet, and check every file."""

import datetime
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from specter_batch.logs import log
from specter_batch.model.bundle import ModelBundle
from specter_batch.storage.location import Location
from specter_batch.terminal import print_above, progress_bars
from specter_jobs.label.assemble import ShardPipeline
from specter_jobs.label.engines.scheduler import Scheduler
from specter_jobs.label.loop import label_shards
from specter_jobs.label.rewrite import LabelRewriter
from specter_jobs.night.stages import LabelledNight, PlannedNight
from specter_jobs.output.ledger import Ledger
from specter_jobs.output.plan_file import listed_files
from specter_jobs.plan.audit_size import audit_size, night_key
from specter_jobs.plan.workload import MaxFresh, Workload
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.known_labels import KnownLabels
from specter_jobs.screen.reuse import local_copies, reusable_labels


@dataclass(frozen=True, kw_only=True)
class LabelLimits:
    """The earlier nights whose labels are reused, and the limits that stop a night.

    Attributes:
        reuse: Output folders of earlier nights.
        max_fresh: Maximum number or share of papers that the model may label; None for no limit.
        max_failed_shards: The night stops if more shards than this have failed.
    """

    reuse: Sequence[Location]
    max_fresh: MaxFresh | None
    max_failed_shards: int


def label_night(
    planned: PlannedNight,
    bundle: ModelBundle,
    scheduler: Scheduler,
    limits: LabelLimits,
    *,
    audit_share: float | None,
    date: datetime.date,
    console: Console,
) -> LabelledNight:
    """Label the shards that are not done yet. A shard that fails does not affect the others.

    Args:
        planned: The plan.
        bundle: The model.
        scheduler: Scheduler of the workers, which read the papers for the deduplication and label them.
        limits: Earlier nights to reuse, and limits that stop the night.
        audit_share: Share of the fresh papers that the fp32 graph labels too; None for the default.
        date: Date of the night, which decides which papers these are.
        console: Console for progress.

    Raises:
        GateError: The model would have to label more papers than `limits.max_fresh`. Nothing was labelled.
    """
    out, plan = planned.out, planned.plan
    form = planned.form
    ledger = Ledger(out, binding=planned.binding, bindings=planned.bindings, model=planned.model.hash, form=form)
    lent = reusable_labels(
        limits.reuse,
        tonight=planned.model,
        needs_probabilities=form.columns.needs_probabilities,
        needs_embeddings=form.columns.embeddings,
    )
    with _progress(console) as progress, _deduplicated(planned, bundle, lent.files, progress, scheduler) as rows:
        scheduler.await_worker()
        workload = rows.workload(lent.unusable)
        if limits.reuse:
            _announce(workload, console)

        rewriter = LabelRewriter(out, ledger, form, bundle, rows)

        def check(pending: Collection[int]) -> None:
            _announce_rewriting(rewriter)
            workload.check(limits.max_fresh, pending=pending)

        audited = audit_size(
            audit_share, fresh=workload.n_fresh, precision=planned.graph.precision, reused=workload.reusable
        )
        pipeline = ShardPipeline(
            scheduler,
            deduplication=rows,
            ledger=ledger,
            out=out.place,
            form=form,
            audit=rows.audit_choice(audited, key=night_key(date)),
        )
        began = time.monotonic()
        entries, failed, fresh = label_shards(
            rows.shards,
            pipeline.run,
            finished=rewriter.finished,
            check=check,
            max_failed_shards=limits.max_failed_shards,
            progress=progress,
            watch=planned.watch,
        )
    # The model may have been loaded beside the first shards. The driver may hear of it after the first labels, so the
    # time of the model itself is the least that labelling took.
    loading = max(scheduler.await_ready() - began, 0.0)
    labelling = max(fresh.seconds - loading, fresh.model_seconds / scheduler.n_workers)
    fresh = replace(fresh, rewritten=rewriter.papers, seconds=labelling)
    damaged = ledger.damaged(list(entries.values()))
    failed = {**planned.unreadable, **failed, **damaged}
    ordered = [entries[shard.name] for shard in plan.shards if shard.name in entries and shard.name not in damaged]
    if not failed:  # remove labels of other rows or shards only when all shards are complete
        ledger.remove_strangers(ordered, keep=listed_files(planned.dump))
    return LabelledNight(entries=ordered, failed=failed, workload=workload, fresh=fresh, workers=scheduler)


@contextmanager
def _deduplicated(
    planned: PlannedNight,
    bundle: ModelBundle,
    known: Sequence[Location],
    progress: Progress,
    scheduler: Scheduler,
) -> Iterator[Deduplication]:
    task = progress.add_task("survey", total=planned.plan.rows)

    with planned.out.scratch() as scratch:
        deduplication = Deduplication(
            planned.plan.shards,
            scheduler.keys(planned.plan.shards),
            known_labels=KnownLabels(
                files=local_copies(known, scratch),
                n_labels=len(bundle.labels),
                needs_probabilities=planned.form.columns.needs_probabilities,
                embedding_size=planned.form.embedding_size,
            ),
            scratch=scratch,
            advance=lambda rows: progress.update(task, advance=rows),
        )
        pa.default_memory_pool().release_unused()  # it has held texts of the whole input
        try:
            yield deduplication
        finally:
            deduplication.close()


def _announce_rewriting(rewriter: LabelRewriter) -> None:
    """Report which labels got other columns without the model, and which the model has to give again."""
    if rewriter.files:
        log("labels rewritten with other columns", labels=rewriter.papers, files=rewriter.files)
    if rewriter.lost:
        log(
            "labels are computed again, because the new columns need logits or vectors that were not stored",
            level=logging.WARNING,
            labels=rewriter.lost,
        )


def _announce(workload: Workload, console: Console) -> None:
    """Report how many labels are reused before labelling begins, in the log and on a terminal."""
    reuse = workload.as_report()
    log("labels of earlier nights", **reuse.model_dump())
    if console.is_terminal:
        for sentence in reuse.sentences():
            print_above(console, sentence)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return progress_bars(console, *columns)
