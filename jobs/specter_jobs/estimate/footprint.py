"""Estimate disk and memory of a night."""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.model.bundle import ModelBundle
from specter_batch.model.manifest import GraphEntry
from specter_jobs.database import memory_for
from specter_jobs.estimate.result import MemoryUse, OutputSize
from specter_jobs.estimate.sampling import Sample
from specter_jobs.label.engines.messages import SHARDS_AT_ONCE
from specter_jobs.night.form import label_form
from specter_jobs.output.folder import output_folder
from specter_jobs.output.label_form import LabelForm
from specter_jobs.output.names import LABELS, REJECTS
from specter_jobs.output.schema import (
    EMBEDDING,
    LOGITS,
    PROBABILITIES,
    STAMPED_BUNDLE,
    STAMPED_NIGHT,
    TOP_LABELS,
    TOP_SCORES,
)
from specter_jobs.output.writer import write_output
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.shards import Plan

# Bytes of a shard in the ledger, which is in memory until the report is written (benchmarks/many_shards.py). Each label
# needs 100 bytes more.
LEDGER_ENTRY_BYTES = 7_000
# Bytes of a row in the tables of the deduplication: id and hash, and space for joins (benchmarks/many_papers.py).
DEDUPLICATION_ROW_BYTES = 120


def output_of(
    config: NightConfig,
    plan: Plan,
    sample: Sample,
    scores: npt.NDArray[np.float64] | None,
    bundle: ModelBundle,
) -> tuple[OutputSize, float]:
    """Write labels and rejects of the sample, and return the size of the night's and the time to write them.

    The model did not label all papers of the sample. How well a column compresses depends on repeated values. So scores
    are drawn from the distribution of the timed papers' scores (uniformly if none were timed), and labels at random.
    """
    form = label_form(config, plan, bundle, night=config.date)
    table = _drawn_labels(form, sample, scores)
    rejects = pa.concat_tables(sample.rejects)
    with tempfile.TemporaryDirectory() as folder:
        out = output_folder(Path(folder))
        out.make((LABELS, REJECTS))
        began = time.perf_counter()
        written = write_output(out.place, LABELS, "sample", table)
        spent = time.perf_counter() - began
        rejected = write_output(out.place, REJECTS, "sample", rejects).size if rejects.num_rows else 0
    scale = plan.rows / sample.rows
    sizes = OutputSize(
        labels=written.size * scale,
        rejects=rejected * scale,
        bytes_a_label=written.size / len(sample.hashes),
        label_files=len(plan.shards),
    )
    return sizes, spent * scale


def _drawn_labels(form: LabelForm, sample: Sample, scores: npt.NDArray[np.float64] | None) -> pa.Table:
    """Return a table with all columns of a label file for the papers of the sample, with random values."""
    rng = np.random.default_rng(0)
    n, n_labels = len(sample.hashes), len(form.labels)
    names = pa.array(form.labels.names, pa.string())
    label_id, score = rng.integers(0, n_labels, n), rng.random(n)
    columns: dict[str, Any] = {
        "paper_id": sample.paper_ids,
        "label": names.take(pa.array(label_id)),
        "label_id": label_id,
        "score": score if scores is None else np.quantile(scores, score),
        "text_hash": sample.hashes,
        "reused": np.zeros(n, dtype=np.bool_),
        "file": ["part-00000.parquet"] * n,
        "row": np.arange(n),
        "runner_up": names.take(pa.array(rng.integers(0, n_labels, n))),
        "margin": rng.random(n),
        "true_label": pa.nulls(n, pa.string()),
        "seen_in_training": pa.nulls(n, pa.bool_()),
        PROBABILITIES: _lists(rng.dirichlet(np.ones(n_labels), n)),
        LOGITS: _lists(rng.normal(size=(n, n_labels))),
        TOP_LABELS: [list(form.labels.names[: form.columns.top_k])] * n,
        TOP_SCORES: rng.random((n, form.columns.top_k)).tolist(),
        EMBEDDING: _vectors(rng.normal(size=(n, form.embedding_size or 1))),
        STAMPED_BUNDLE: [form.bundle] * n,
        STAMPED_NIGHT: [form.night] * n,
    }
    kept = pa.concat_tables(sample.kept) if sample.kept else None
    for name, written in form.input_names.items():
        columns[written] = ["2026"] * n if kept is None or name not in kept.column_names else kept[name]
    schema = form.schema
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _lists(values: npt.NDArray[np.float64]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), values.shape[1])


def _vectors(values: npt.NDArray[np.float64]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float16).ravel()), values.shape[1])


def memory_of(
    config: NightConfig, plan: Plan, sample: Sample, bundle: ModelBundle, graph: GraphEntry, *, loaded: bool
) -> MemoryUse:
    """Return the memory of each part in bytes. Beyond their limit, the tables of the deduplication are on disk."""
    exact = bundle.graph_for("cpu", "fp32").file
    graphs = set() if loaded else {graph.file} | ({exact} if graph.deferral_margin else set())
    if config.audit_share != 0 and not graph.deferral_margin and graph.file != exact:
        graphs.add(exact)  # for the audit alone
    unloaded = sum((bundle.path / file).stat().st_size for file in graphs)
    held = sample.held_bytes / sample.rows * min(config.shard_rows, max(shard.rows for shard in plan.shards))
    tables = plan.rows * DEDUPLICATION_ROW_BYTES
    # Linux counts in kibibytes (getrusage(2)). The memory of the sample is included, so this is slightly too much.
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + unloaded
    in_flight, in_memory = held * SHARDS_AT_ONCE, min(tables, memory_for(plan.rows))
    ledger = len(plan.shards) * LEDGER_ENTRY_BYTES
    return MemoryUse(
        process_and_sessions=process,
        shards_in_flight=in_flight,
        survey=in_memory,
        ledger=ledger,
        total=process + in_flight + in_memory + ledger,
        survey_on_disk=tables,
    )
