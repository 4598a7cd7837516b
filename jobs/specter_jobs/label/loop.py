"""The loop of a night over its shards: what is done already, what the workers answer, and what failed."""

import logging
import time
from collections.abc import Sequence

from rich.progress import Progress

from specter_batch.errors import GateError, ShardError
from specter_jobs.label.assemble import ShardPipeline
from specter_jobs.label.fresh import Fresh
from specter_jobs.logs import log
from specter_jobs.output.labelled_shard import LabelledShard
from specter_jobs.output.ledger import Ledger
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.progress import NightWatch
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.decisions import SurveyedShard
from specter_jobs.plan.workload import Workload


def label_shards(
    pipeline: ShardPipeline,
    ledger: Ledger,
    surveyed: Sequence[SurveyedShard],
    workload: Workload,
    config: NightConfig,
    progress: Progress,
    watch: NightWatch,
) -> tuple[dict[str, LedgerEntry], dict[str, str], Fresh]:
    """Label the shards that are not done yet.

    Returns:
        The finished shards by name, the errors of the failed ones, and what this run itself labelled.

    Raises:
        GateError: More papers would be fresh than `config.max_fresh` allows; nothing was labelled.
    """
    entries: dict[str, LedgerEntry] = {}
    failed: dict[str, str] = {}
    pending: list[SurveyedShard] = []
    for shard in surveyed:
        done = ledger.finished(shard)
        if shard.error is not None:
            failed[shard.shard.name] = shard.error
        elif done is not None:
            entries[shard.shard.name] = done
        else:
            pending.append(shard)
    try:
        workload.check(config.max_fresh, pending={shard.number for shard in pending})
    except GateError as error:
        watch.refused(str(error), exit_code=error.exit_code)
        raise
    kept = sum(entry.rows for entry in entries.values())
    total = sum(shard.shard.rows for shard in surveyed)
    task = progress.add_task("label", total=total, completed=kept)
    watch.labelling(entries.values(), failed)
    began = time.monotonic()
    n_shards, papers, model_seconds, budgets = 0, 0, 0.0, set[int]()
    for shard, outcome in pipeline.run(pending):
        n_shards += 1
        if isinstance(outcome, ShardError):
            failed[shard.shard.name] = str(outcome)
        else:
            try:
                _check_accounting(shard, outcome)
                entries[shard.shard.name] = ledger.commit(shard, outcome, seconds=outcome.seconds)
                papers += outcome.labels.num_rows - outcome.reused
                model_seconds += outcome.model_seconds
                budgets.update([outcome.max_batch_tokens] if outcome.max_batch_tokens else [])
                watch.finished(entries[shard.shard.name])
            except (ShardError, OSError) as error:
                failed[shard.shard.name] = str(error)
        if shard.shard.name in failed:
            watch.failed(shard.shard.name, failed[shard.shard.name])
        progress.update(task, advance=shard.shard.rows)
        if len(failed) > config.max_failed_shards:
            log(f"stopping: more than {config.max_failed_shards} shards failed", level=logging.ERROR)
            break
    seconds = time.monotonic() - began
    fresh = Fresh(
        shards=n_shards,
        papers=papers,
        seconds=seconds,
        model_seconds=model_seconds,
        max_batch_tokens=min(budgets, default=None),
    )
    return entries, failed, fresh


def _check_accounting(surveyed: SurveyedShard, labelled: LabelledShard) -> None:
    """Law 1: every row of the shard is labelled or rejected."""
    accounted = labelled.labels.num_rows + labelled.rejects.num_rows
    if accounted != surveyed.shard.rows:
        raise ShardError(
            f"{surveyed.shard.name}: {accounted} rows labelled or rejected of {surveyed.shard.rows}; "
            "the shard was dropped, please report this"
        )
