"""The loop of a night over its shards: skip finished shards, collect answers of workers, and record failures."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from rich.progress import Progress

from specter_batch.errors import GateError, ShardError
from specter_batch.logs import log
from specter_jobs.label.fresh import FinishedShard, Fresh
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.progress import NightWatch
from specter_jobs.plan.decisions import DeduplicatedShard


def label_shards(
    shards: Sequence[DeduplicatedShard],
    run: Callable[[Sequence[DeduplicatedShard]], Iterable[tuple[DeduplicatedShard, FinishedShard | ShardError]]],
    *,
    finished: Callable[[DeduplicatedShard], LedgerEntry | None],
    check: Callable[[Collection[int]], None],
    max_failed_shards: int,
    progress: Progress,
    watch: NightWatch,
) -> tuple[dict[str, LedgerEntry], dict[str, str], Fresh]:
    """Label the shards that are not done yet.

    Args:
        shards: The shards of the night, in the plan's order.
        run: Function that labels shards, and yields each one when it is finished or has failed.
        finished: Function that returns the ledger entry of a shard that is done already.
        check: Function that stops a night with too many papers. It receives the numbers of the shards that are not
            done.
        max_failed_shards: The night stops if more shards than this have failed.
        progress: Progress display that gets a bar.
        watch: Object that reports the progress of the night.

    Returns:
        The finished shards by name, the errors of the failed ones, and figures of this run.

    Raises:
        GateError: `check` stopped the night. Nothing was labelled.
    """
    entries: dict[str, LedgerEntry] = {}
    failed: dict[str, str] = {}
    pending: list[DeduplicatedShard] = []
    for shard in shards:
        if shard.error is not None:
            failed[shard.shard.name] = shard.error
            continue
        try:
            done = finished(shard)
        except ShardError as error:
            failed[shard.shard.name] = str(error)
            continue
        if done is not None:
            entries[shard.shard.name] = done
        else:
            pending.append(shard)
    try:
        check({shard.number for shard in pending})
    except GateError as error:
        watch.refused(str(error), exit_code=error.exit_code)
        raise
    kept = sum(entry.rows for entry in entries.values())
    total = sum(shard.shard.rows for shard in shards)
    task = progress.add_task("label", total=total, completed=kept)
    watch.labelling(entries.values(), failed)
    began = time.monotonic()
    n_shards, papers, model_seconds, audit_seconds, budgets = 0, 0, 0.0, 0.0, set[int]()
    for shard, outcome in run(pending):
        n_shards += 1
        if isinstance(outcome, ShardError):
            failed[shard.shard.name] = str(outcome)
            watch.failed(shard.shard.name, str(outcome))
        else:
            entry = entries[shard.shard.name] = outcome.entry
            papers += entry.labels.rows - entry.reused
            model_seconds += outcome.model_seconds
            audit_seconds += outcome.audit_seconds
            budgets.update([outcome.max_batch_tokens] if outcome.max_batch_tokens else [])
            watch.finished(entry)
        progress.update(task, advance=shard.shard.rows)
        if len(failed) > max_failed_shards:
            log(f"stopping: more than {max_failed_shards} shards failed", level=logging.ERROR)
            break
    seconds = time.monotonic() - began
    fresh = Fresh(
        shards=n_shards,
        papers=papers,
        seconds=seconds,
        model_seconds=model_seconds,
        audit_seconds=audit_seconds,
        max_batch_tokens=min(budgets, default=None),
    )
    return entries, failed, fresh
