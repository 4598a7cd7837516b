"""What a night would take: papers, tokens, hours, disk and memory, from the footers, a sample and a timed slice."""

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.inputs.inventory import parquet_inventory
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device, devices
from specter_jobs.database import opened_database, register_parquet
from specter_jobs.estimate.footprint import memory_of, output_of
from specter_jobs.estimate.model_rate import rate_of
from specter_jobs.estimate.ranges import Range, share_of, times
from specter_jobs.estimate.sampling import Sample, read_pace, read_sample, sample_shards
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
) -> dict[str, Any]:
    """Estimate a night without labelling it.

    Args:
        config: Of the night; its output folder is not touched.
        papers_per_second: What a device is known to label; None to time the model on this one.
        seconds: How long to time it, about.
        sample_rows: Rows to read, about.
        seed: Of the sample.
        cost_per_hour: Of one device, to tell costs.

    Raises:
        ConfigError: A figure is none that can be, or the dump is not parquet.
        PaperSchemaError: There are no papers, or none of the sampled ones can be labelled.
        SpecterBatchError: The bundle or an earlier night cannot be used.
    """
    _check(config, papers_per_second=papers_per_second, seconds=seconds, rows=sample_rows, cost=cost_per_hour)
    bundle, rules = ModelBundle.open(config.bundle), config.section(LabelRules)
    device = devices(config.device)[0]
    graph = bundle.graph_for(device.kind, config.graph)
    plan = plan_shards(parquet_inventory(config.dump), columns=config.columns, shard_rows=config.shard_rows)
    if not plan.rows:
        raise PaperSchemaError(f"{config.dump}: {len(plan.files)} parquet files and no row; is the dump complete?")
    sample = read_sample(sample_shards(plan, rows=sample_rows, seed=seed), rules, bundle)
    _check_sample(sample, str(config.dump))
    reused = _reuse(config, bundle, device, sample, whole=sample.rows == plan.rows)
    lengths = np.array([len(ids) for ids in sample.token_ids])
    papers = times(share_of(len(sample.hashes), sample.rows, whole=sample.rows == plan.rows), plan.rows)
    known = reused["share"] if reused else dict.fromkeys(papers, 0.0)
    to_label = {"estimate": papers["estimate"] * (1 - known["estimate"])}
    to_label |= {"low": papers["low"] * (1 - known["high"]), "high": papers["high"] * (1 - known["low"])}
    model, scores = rate_of(bundle, device, config, sample, papers_per_second=papers_per_second, seconds=seconds)
    rate = model["papers_per_second"]
    busy = {"estimate": to_label["estimate"] / rate["estimate"]}
    busy |= {"low": to_label["low"] / rate["high"], "high": to_label["high"] / rate["low"]}
    output, write_seconds = output_of(config, plan, sample, scores, bundle)
    pace = read_pace(plan, rules, bundle)
    fixed = {"survey": pace.survey_start + pace.survey * plan.rows, "prepare": pace.prepare * plan.rows}
    fixed |= {"write": write_seconds}
    if reused:
        hours = (papers["estimate"] - to_label["estimate"]) / rate["estimate"] / 3600
        reused |= {"papers": papers["estimate"] - to_label["estimate"], "device_hours_saved": hours}
        reused |= {"cost_saved": None if cost_per_hour is None else hours * cost_per_hour}
    device_hours = times(busy, 1 / 3600)
    return {
        "rows": plan.rows,
        "files": len(plan.files),
        "unreadable_files": {file.name: file.error for file in plan.failed},
        "ignored_files": dict(plan.ignored),
        "shards": len(plan.shards),
        "sample": {
            "rows": sample.rows,
            "whole": sample.rows == plan.rows,
            "usable": len(sample.hashes),
            "rejects_by_reason": sample.rejects_by_reason,
            "unreadable": sample.errors,
            "seed": seed,
        },
        "papers": papers,
        "tokens": _tokens(lengths, papers, bundle, whole=sample.rows == plan.rows),
        "model": model,
        "reuse": reused,
        "device_hours": device_hours,
        "cost": None if cost_per_hour is None else times(device_hours, cost_per_hour),
        "fixed_seconds": fixed,
        "wall": [_wall(count, busy, fixed) for count in DEVICES],
        "output": output,
        "memory": memory_of(config, plan, sample, bundle, graph, loaded=papers_per_second is None),
    }


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
        told = ", ".join(f"{reason} {rows}" for reason, rows in sample.rejects_by_reason.items())
        raise PaperSchemaError(f"{dump}: not one of {sample.rows} sampled rows would be labelled: {told}")


def _tokens(lengths: npt.NDArray[np.int64], papers: Range, bundle: ModelBundle, *, whole: bool) -> dict[str, Any]:
    reach = 0.0 if whole else Z_95 * float(lengths.std()) / math.sqrt(len(lengths))
    mean, longest = float(lengths.mean()), bundle.manifest.max_length
    p50, p90, p99 = (float(value) for value in np.percentile(lengths, [50, 90, 99]))
    return {
        "mean": mean,
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "max_length": longest,
        "cut_share": float((lengths == longest).mean()),
        "total": {
            "estimate": papers["estimate"] * mean,
            "low": papers["low"] * (mean - reach),
            "high": papers["high"] * (mean + reach),
        },
    }


def _reuse(
    config: NightConfig, bundle: ModelBundle, device: Device, sample: Sample, *, whole: bool
) -> dict[str, Any] | None:
    """Look the sampled texts up in the earlier nights' labels, as the night would."""
    if not config.reuse:
        return None
    tonight = NightIdentity.of(config, bundle, device.kind, root=None)
    lent = reusable_labels(config.reuse, tonight=tonight, probabilities=config.probabilities)
    files = lent.files
    found: set[str] = set()
    if files:
        with tempfile.TemporaryDirectory() as scratch, opened_database(Path(scratch)) as database:
            database.register("sampled", pa.table({"text_hash": sample.hashes}))
            with register_parquet(database, "labelled", local_copies(files, Path(scratch)), ["text_hash"]):
                rows = database.execute(FOUND).fetchall()
        found = {row[0] for row in rows}
    count = sum(text_hash in found for text_hash in sample.hashes)
    return {
        "label_files": len(files),
        "unusable": [str(one) for one in lent.unusable],
        "share": share_of(count, len(sample.hashes), whole=whole),
    }


def _wall(count: int, busy: Range, fixed: dict[str, float]) -> dict[str, Any]:
    """Return the wall time on so many devices, each with the cores of this machine, and one driver."""
    before_and_after = fixed["survey"] + fixed["write"]
    wall = {name: before_and_after + max(value, fixed["prepare"]) / count for name, value in busy.items()}
    slowest = {
        "model": busy["estimate"] / count,
        "preparation": fixed["prepare"] / count,
        "survey and writing": before_and_after,
    }
    return {"devices": count, "seconds": wall, "bound_by": max(slowest, key=lambda name: slowest[name])}
