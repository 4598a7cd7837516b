"""Estimate papers, tokens, hours, disk and memory of a night from file footers, a sample and a timed part of it."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.inputs import parquet_inventory
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device, devices
from specter_jobs.database import opened_database, register_parquet
from specter_jobs.estimate.footprint import memory_of, output_of
from specter_jobs.estimate.model_rate import rate_of
from specter_jobs.estimate.ranges import Range
from specter_jobs.estimate.result import Estimate, FixedSeconds, ReuseFigures, SampleFigures, TokenFigures, WallTime
from specter_jobs.estimate.sampling import Sample, read_pace, read_sample, sample_shards
from specter_jobs.label.prepare import ShardPreparer
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.identity import NightIdentity
from specter_jobs.plan.planning import plan_shards
from specter_jobs.plan.sections import LabelRules
from specter_jobs.screen.reuse import local_copies, reusable_labels

DEVICES = (1, 8, 64)
Z_95 = 1.96
FOUND = "SELECT DISTINCT text_hash FROM labelled SEMI JOIN sampled USING (text_hash)"


def estimate_night(
    config: NightConfig,
    *,
    papers_per_second: float | None,
    seconds: float,
    sample_rows: int,
    seed: int,
    cost_per_hour: float | None,
) -> Estimate:
    """Estimate a night without labelling it.

    Args:
        config: Settings of the night. Nothing is written to its output folder.
        papers_per_second: Known speed of a device; None to measure the model on this device.
        seconds: Approximate time of the measurement.
        sample_rows: Approximate number of rows to read.
        seed: Random seed of the sample.
        cost_per_hour: Price of one device for an hour; None to compute no costs.

    Raises:
        ConfigError: An argument has an impossible value, or the dump is not parquet.
        PaperSchemaError: The dump has no papers, or no paper of the sample can be labelled.
        SpecterBatchError: The bundle or an earlier night cannot be used.
    """
    _check(config, papers_per_second=papers_per_second, seconds=seconds, rows=sample_rows, cost=cost_per_hour)
    bundle, rules = ModelBundle.open(config.bundle), config.section(LabelRules)
    device = devices(config.device)[0]
    graph = bundle.graph_for(device.kind, config.graph)
    plan = plan_shards(
        parquet_inventory(config.dump),
        columns=config.columns,
        shard_rows=config.shard_rows,
        keep=config.keep_columns,
    )
    if not plan.rows:
        raise PaperSchemaError(
            f"{config.dump}: {len(plan.files)} parquet files without a row; check that the dump is complete"
        )
    preparer = ShardPreparer(bundle, rules, tokenizer=config.tokenizer)
    sample = read_sample(sample_shards(plan, rows=sample_rows, seed=seed), rules, bundle, preparer)
    _check_sample(sample, str(config.dump))
    whole = sample.rows == plan.rows
    papers = Range.share_of(len(sample.hashes), sample.rows, whole=whole).times(plan.rows)
    lent = _lent(config, bundle, device, sample, whole=whole)
    to_label = papers if lent is None else papers.without(lent.share)
    model, scores = rate_of(bundle, device, config, sample, papers_per_second=papers_per_second, seconds=seconds)
    busy = to_label.over(model.papers_per_second)
    output, write_seconds = output_of(config, plan, sample, scores, bundle)
    pace = read_pace(plan, rules, bundle, preparer)
    fixed = FixedSeconds(
        survey=pace.deduplication_start + pace.deduplication * plan.rows,
        prepare=pace.prepare * plan.rows,
        write=write_seconds,
    )
    device_hours = busy.times(1 / 3600)
    return Estimate(
        rows=plan.rows,
        files=len(plan.files),
        unreadable_files={file.name: file.error for file in plan.failed},
        ignored_files=plan.ignored,
        shards=len(plan.shards),
        sample=SampleFigures(
            rows=sample.rows,
            whole=whole,
            usable=len(sample.hashes),
            rejects_by_reason=sample.rejects_by_reason,
            unreadable=tuple(sample.errors),
            seed=seed,
        ),
        papers=papers,
        tokens=_tokens(sample, papers, bundle, whole=whole),
        model=model,
        reuse=None
        if lent is None
        else _saved(
            lent,
            papers.estimate - to_label.estimate,
            rate=model.papers_per_second.estimate,
            cost_per_hour=cost_per_hour,
        ),
        device_hours=device_hours,
        cost=None if cost_per_hour is None else device_hours.times(cost_per_hour),
        fixed_seconds=fixed,
        wall=tuple(_wall(count, busy, fixed) for count in DEVICES),
        output=output,
        memory=memory_of(config, plan, sample, bundle, graph, loaded=papers_per_second is None),
    )


def _check(
    config: NightConfig, *, papers_per_second: float | None, seconds: float, rows: int, cost: float | None
) -> None:
    for option, value in (
        ("--papers-per-second", papers_per_second),
        ("--seconds", seconds),
        ("--sample", rows),
        ("--cost-per-hour", cost),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{option} {value}: expected a number above 0")
    if config.format is not None:
        raise ConfigError(
            f"format {config.format}: only parquet can be estimated; run ingest first, on a part if need be"
        )


def _check_sample(sample: Sample, dump: str) -> None:
    if not sample.rows:
        raise PaperSchemaError(f"{dump}: none of the sampled rows can be read; the first error: {sample.errors[0]}")
    if not sample.hashes:
        reasons = ", ".join(f"{reason} {rows}" for reason, rows in sample.rejects_by_reason.items())
        raise PaperSchemaError(f"{dump}: not one of {sample.rows} sampled rows would be labelled: {reasons}")


def _tokens(sample: Sample, papers: Range, bundle: ModelBundle, *, whole: bool) -> TokenFigures:
    lengths = np.array([len(ids) for ids in sample.token_ids])
    reach = 0.0 if whole else Z_95 * float(lengths.std()) / math.sqrt(len(lengths))
    mean, longest = float(lengths.mean()), bundle.manifest.max_length
    p50, p90, p99 = (float(value) for value in np.percentile(lengths, [50, 90, 99]))
    return TokenFigures(
        mean=mean,
        p50=p50,
        p90=p90,
        p99=p99,
        max_length=longest,
        cut_share=float((lengths == longest).mean()),
        total=Range(
            estimate=papers.estimate * mean, low=papers.low * (mean - reach), high=papers.high * (mean + reach)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _LentLabels:
    """Labels of earlier nights for the sampled papers.

    Attributes:
        label_files: Number of label files that can be used.
        unusable: Labels that cannot be used, with the reasons.
        share: Share of the papers whose text is in these files.
    """

    label_files: int
    unusable: tuple[str, ...]
    share: Range


def _lent(
    config: NightConfig, bundle: ModelBundle, device: Device, sample: Sample, *, whole: bool
) -> _LentLabels | None:
    """Look the sampled texts up in the earlier nights' labels, as the night would."""
    if not config.reuse:
        return None
    tonight = NightIdentity.of(
        config,
        fingerprint=bundle.fingerprint,
        kind=device.kind,
        graph=bundle.graph_for(device.kind, config.graph).sha256,
        precisions={graph.sha256: graph.precision for graph in bundle.manifest.graphs},
        root=None,
    )
    lent = reusable_labels(
        config.reuse,
        tonight=tonight.model,
        needs_probabilities=config.needs_probabilities,
        needs_embeddings=config.embeddings,
    )
    files = lent.files
    known: set[str] = set()
    if files:
        with tempfile.TemporaryDirectory() as scratch, opened_database(Path(scratch)) as database:
            database.register("sampled", pa.table({"text_hash": sample.hashes}))
            with register_parquet(database, "labelled", local_copies(files, Path(scratch)), ["text_hash"]):
                rows = database.execute(FOUND).fetchall()
        known = {row[0] for row in rows}
    count = sum(text_hash in known for text_hash in sample.hashes)
    return _LentLabels(
        label_files=len(files),
        unusable=tuple(map(str, lent.unusable)),
        share=Range.share_of(count, len(sample.hashes), whole=whole),
    )


def _saved(lent: _LentLabels, papers: float, *, rate: float, cost_per_hour: float | None) -> ReuseFigures:
    hours = papers / rate / 3600
    return ReuseFigures(
        label_files=lent.label_files,
        unusable=lent.unusable,
        share=lent.share,
        papers=papers,
        device_hours_saved=hours,
        cost_saved=None if cost_per_hour is None else hours * cost_per_hour,
    )


def _wall(count: int, busy: Range, fixed: FixedSeconds) -> WallTime:
    """Return the wall-clock time on `count` devices, each with the cores of this machine, and one driver."""
    before_and_after = fixed.survey + fixed.write
    estimate, low, high = (
        before_and_after + max(seconds, fixed.prepare) / count for seconds in (busy.estimate, busy.low, busy.high)
    )
    slowest = {
        "model": busy.estimate / count,
        "preparation": fixed.prepare / count,
        "survey and writing": before_and_after,
    }
    return WallTime(
        devices=count,
        seconds=Range(estimate=estimate, low=low, high=high),
        bound_by=max(slowest, key=lambda name: slowest[name]),
    )
