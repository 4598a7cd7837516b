"""What a night would take: papers, tokens, hours, disk and memory, from the footers, a sample and a timed slice."""

import math
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.bundle import GraphEntry, ModelBundle
from specter_batch.encoding import TokenIds
from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.metrics import wilson
from specter_batch.papers import find_parquet
from specter_batch.runtime import Device, OnnxClassifier, devices
from specter_jobs.config import NightConfig
from specter_jobs.engines.worker import SHARDS_AT_ONCE
from specter_jobs.nightly import model_hash
from specter_jobs.reuse import reusable_labels
from specter_jobs.sampling import Sample, read_pace, read_sample, sample_shards
from specter_jobs.shards import Plan, plan_shards
from specter_jobs.survey import DUCKDB_MEMORY, local_copies
from specter_jobs.verify import LABEL_COLUMNS
from specter_jobs.writer import LABELS, REJECTS, write_output

DEVICES = (1, 8, 64)
Z_95 = 1.96
# Slices of the model's time whose tenth and ninetieth percentile make the range; a card is given whole batches.
SLICE_PAPERS_A_THREAD, SLICE_PAPERS_CUDA = 4, 512
MIN_SLICES = 5
# Of a shard in the ledger, held until the report is written (benchmarks/many_shards.py; 100 more by label).
LEDGER_ENTRY_BYTES = 7_000
# Of a row in the survey's tables, id and hash, with room for its joins (benchmarks/many_papers.py).
SURVEY_ROW_BYTES = 120

FOUND = "SELECT DISTINCT text_hash FROM read_parquet($files) SEMI JOIN sampled USING (text_hash)"

Range = dict[str, float]


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
    bundle = ModelBundle.open(config.bundle)
    device = devices(config.device)[0]
    graph = bundle.graph_for(device.kind, config.precision)
    root, paths = find_parquet(config.dump)
    plan = plan_shards(root, paths, columns=config.columns, shard_rows=config.shard_rows)
    if not plan.rows:
        raise PaperSchemaError(f"{config.dump}: {len(plan.files)} parquet files and no row; is the dump complete?")
    sample = read_sample(sample_shards(plan, rows=sample_rows, seed=seed), config, bundle)
    _check_sample(sample, str(config.dump))
    reused = _reuse(config, bundle, device, sample, whole=sample.rows == plan.rows)
    lengths = np.array([len(ids) for ids in sample.token_ids])
    papers = _times(_share(len(sample.hashes), sample.rows, whole=sample.rows == plan.rows), plan.rows)
    known = reused["share"] if reused else dict.fromkeys(papers, 0.0)
    to_label = {"estimate": papers["estimate"] * (1 - known["estimate"])}
    to_label |= {"low": papers["low"] * (1 - known["high"]), "high": papers["high"] * (1 - known["low"])}
    model, scores = _model(bundle, device, config, sample, papers_per_second=papers_per_second, seconds=seconds)
    rate = model["papers_per_second"]
    busy = {"estimate": to_label["estimate"] / rate["estimate"]}
    busy |= {"low": to_label["low"] / rate["high"], "high": to_label["high"] / rate["low"]}
    output, write_seconds = _output(config, plan, sample, scores, bundle)
    pace = read_pace(plan, config, bundle)
    fixed = {"survey": pace.survey_start + pace.survey * plan.rows, "prepare": pace.prepare * plan.rows}
    fixed |= {"write": write_seconds}
    if reused:
        hours = (papers["estimate"] - to_label["estimate"]) / rate["estimate"] / 3600
        reused |= {"papers": papers["estimate"] - to_label["estimate"], "device_hours_saved": hours}
        reused |= {"cost_saved": None if cost_per_hour is None else hours * cost_per_hour}
    device_hours = _times(busy, 1 / 3600)
    return {
        "rows": plan.rows,
        "files": len(plan.files),
        "unreadable_files": {file.name: file.error for file in plan.failed},
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
        "cost": None if cost_per_hour is None else _times(device_hours, cost_per_hour),
        "fixed_seconds": fixed,
        "wall": [_wall(count, busy, fixed) for count in DEVICES],
        "output": output,
        "memory": _memory(config, plan, sample, bundle, graph, loaded=papers_per_second is None),
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


def _share(count: int, n: int, *, whole: bool) -> Range:
    """Return the share with its 95 % interval, of Wilson; of rows that were all read it is exact."""
    low, high = (count / n, count / n) if whole else wilson(count / n, n)
    return {"estimate": count / n, "low": low, "high": high}


def _times(value: Range, factor: float) -> Range:
    return {name: part * factor for name, part in value.items()}


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
    model = model_hash(bundle, device.kind, config.precision)
    files = reusable_labels(config.reuse, model=model, probabilities=config.probabilities)
    found: set[str] = set()
    if files:
        with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as database:
            database.register("sampled", pa.table({"text_hash": sample.hashes}))
            paths = local_copies(files, Path(scratch))
            rows = database.execute(FOUND, {"files": [str(path) for path in paths]}).fetchall()
        found = {row[0] for row in rows}
    count = sum(text_hash in found for text_hash in sample.hashes)
    return {"label_files": len(files), "share": _share(count, len(sample.hashes), whole=whole)}


def _model(
    bundle: ModelBundle,
    device: Device,
    config: NightConfig,
    sample: Sample,
    *,
    papers_per_second: float | None,
    seconds: float,
) -> tuple[dict[str, Any], npt.NDArray[np.float64] | None]:
    """Return the rate of one device, and the scores that timing it gave."""
    if papers_per_second is not None:
        rate = {"estimate": papers_per_second, "low": papers_per_second, "high": papers_per_second}
        return {"measured": False, "device": str(device), "papers_per_second": rate, "tokens_per_second": None}, None
    classifier = OnnxClassifier(bundle, device=device, precision=config.precision, threads=config.threads)
    try:
        scores, timed = _timed_slices(classifier, sample.token_ids, seconds=seconds)
    finally:
        classifier.close()
    papers, tokens, spent = (np.array(column) for column in zip(*timed, strict=True))
    speeds = tokens / spent
    low, high = np.percentile(speeds, [10, 90])
    rate = {"estimate": float(tokens.sum() / spent.sum()), "low": float(low), "high": float(high)}
    rate |= {"low": min(rate["low"], rate["estimate"]), "high": max(rate["high"], rate["estimate"])}
    mean = float(np.mean([len(ids) for ids in sample.token_ids]))
    model = {
        "measured": True,
        **classifier.describe(),
        "threads": classifier.threads,
        "papers": int(papers.sum()),
        "seconds": float(spent.sum()),
        "slices": len(timed),
        "tokens_per_second": rate,
        "papers_per_second": _times(rate, 1 / mean),
    }
    return model, scores


def _timed_slices(
    classifier: OnnxClassifier, token_ids: Sequence[TokenIds], *, seconds: float
) -> tuple[npt.NDArray[np.float64], list[tuple[int, int, float]]]:
    """Time slices of mixed lengths until the time or the sample is used up; the first one warms up.

    Returns:
        The timed papers' scores, and papers, tokens and seconds of each slice.
    """
    size = SLICE_PAPERS_CUDA if classifier.device.kind == "cuda" else SLICE_PAPERS_A_THREAD * classifier.threads
    order = np.random.default_rng(0).permutation(len(token_ids))
    slices = [[token_ids[i] for i in order[start : start + size]] for start in range(0, len(order), size)]
    classifier.predict(slices[0])
    timed: list[tuple[int, int, float]] = []
    scores: list[npt.NDArray[np.float64]] = []
    for papers in slices:
        began = time.perf_counter()
        scores.append(classifier.predict(papers).score)
        timed.append((len(papers), sum(map(len, papers)), time.perf_counter() - began))
        if len(timed) >= MIN_SLICES and sum(spent for _, _, spent in timed) >= seconds:
            break
    return np.concatenate(scores), timed


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


def _output(
    config: NightConfig,
    plan: Plan,
    sample: Sample,
    scores: npt.NDArray[np.float64] | None,
    bundle: ModelBundle,
) -> tuple[dict[str, Any], float]:
    """Write the sample's labels and rejects, and return what the night's would take and how long to write.

    Not all of them were asked of the model, and what compresses is how values repeat: scores are drawn anew from the
    distribution of those of the timed papers, or evenly without any, and labels at random.
    """
    rng = np.random.default_rng(0)
    n, labels = len(sample.hashes), bundle.labels
    label_id, score = rng.integers(0, len(labels), n), rng.random(n)
    if scores is not None:
        score = np.quantile(scores, score)
    columns = {
        "paper_id": sample.paper_ids,
        "label": pa.array(labels.names, pa.string()).take(pa.array(label_id)),
        "label_id": label_id,
        "score": score,
        "text_hash": sample.hashes,
        "reused": np.zeros(n, dtype=np.bool_),
    }
    table = pa.table(columns, schema=pa.schema(list(LABEL_COLUMNS.items())))
    if config.probabilities:
        flat = pa.array(rng.dirichlet(np.ones(len(labels)), n).astype(np.float32).ravel())
        table = table.append_column("probabilities", pa.FixedSizeListArray.from_arrays(flat, len(labels)))
    rejects = pa.concat_tables(sample.rejects)
    with tempfile.TemporaryDirectory() as folder:
        for kind in (LABELS, REJECTS):
            (Path(folder) / kind).mkdir()
        began = time.perf_counter()
        written = write_output(Path(folder), LABELS, "sample", table)
        spent = time.perf_counter() - began
        rejected = write_output(Path(folder), REJECTS, "sample", rejects).size if rejects.num_rows else 0
    scale = plan.rows / sample.rows
    sizes = {"labels": written.size * scale, "rejects": rejected * scale}
    return sizes | {"bytes_a_label": written.size / n, "label_files": len(plan.shards)}, spent * scale


def _memory(
    config: NightConfig, plan: Plan, sample: Sample, bundle: ModelBundle, graph: GraphEntry, *, loaded: bool
) -> dict[str, float]:
    """Return bytes by what holds them; the survey's tables go to disk beyond their limit."""
    graphs = {graph.file} | ({bundle.graph_for("cpu", "fp32").file} if graph.deferral_margin else set())
    unloaded = 0 if loaded else sum((bundle.path / file).stat().st_size for file in graphs)
    held = sample.held_bytes / sample.rows * min(config.shard_rows, max(shard.rows for shard in plan.shards))
    survey = plan.rows * SURVEY_ROW_BYTES
    parts = {
        # Linux counts kibibytes (getrusage(2)); what the sample itself took is in it, so this is rather too much.
        "process_and_sessions": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + unloaded,
        "shards_in_flight": held * SHARDS_AT_ONCE,
        "survey": min(survey, _bytes(DUCKDB_MEMORY)),
        "ledger": len(plan.shards) * LEDGER_ENTRY_BYTES,
    }
    return parts | {"total": sum(parts.values()), "survey_on_disk": survey}


def _bytes(size: str) -> int:
    return int(size.removesuffix("GB")) * 10**9
