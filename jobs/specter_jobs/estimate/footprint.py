"""What a night would take of disk and memory."""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.model.bundle import ModelBundle
from specter_batch.model.manifest import GraphEntry
from specter_jobs.database import MEMORY
from specter_jobs.estimate.result import MemoryUse, OutputSize
from specter_jobs.estimate.sampling import Sample
from specter_jobs.label.engines.messages import SHARDS_AT_ONCE
from specter_jobs.output.folder import output_folder
from specter_jobs.output.names import LABELS, REJECTS
from specter_jobs.output.schema import LABEL_SCHEMA, label_schema
from specter_jobs.output.writer import write_output
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.shards import Plan

# Of a shard in the ledger, held until the report is written (benchmarks/many_shards.py; 100 more by label).
LEDGER_ENTRY_BYTES = 7_000
# Bytes of a row in the tables of the deduplication: id and hash, with room for its joins (benchmarks/many_papers.py).
DEDUPLICATION_ROW_BYTES = 120


def output_of(
    config: NightConfig,
    plan: Plan,
    sample: Sample,
    scores: npt.NDArray[np.float64] | None,
    bundle: ModelBundle,
) -> tuple[OutputSize, float]:
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
    table = pa.table(columns, schema=LABEL_SCHEMA)
    if config.probabilities:
        flat = pa.array(rng.dirichlet(np.ones(len(labels)), n).astype(np.float32).ravel())
        schema = label_schema(n_probabilities=len(labels))
        probabilities = pa.FixedSizeListArray.from_arrays(flat, len(labels))
        table = pa.table([*table.columns, probabilities], schema=schema)
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
        bytes_a_label=written.size / n,
        label_files=len(plan.shards),
    )
    return sizes, spent * scale


def memory_of(
    config: NightConfig, plan: Plan, sample: Sample, bundle: ModelBundle, graph: GraphEntry, *, loaded: bool
) -> MemoryUse:
    """Return bytes by what holds them; the tables of the deduplication go to disk beyond their limit."""
    graphs = {graph.file} | ({bundle.graph_for("cpu", "fp32").file} if graph.deferral_margin else set())
    unloaded = 0 if loaded else sum((bundle.path / file).stat().st_size for file in graphs)
    held = sample.held_bytes / sample.rows * min(config.shard_rows, max(shard.rows for shard in plan.shards))
    tables = plan.rows * DEDUPLICATION_ROW_BYTES
    # Linux counts kibibytes (getrusage(2)); what the sample itself took is in it, so this is rather too much.
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + unloaded
    in_flight, in_memory = held * SHARDS_AT_ONCE, min(tables, _bytes(MEMORY))
    ledger = len(plan.shards) * LEDGER_ENTRY_BYTES
    return MemoryUse(
        process_and_sessions=process,
        shards_in_flight=in_flight,
        survey=in_memory,
        ledger=ledger,
        total=process + in_flight + in_memory + ledger,
        survey_on_disk=tables,
    )


def _bytes(size: str) -> int:
    return int(size.removesuffix("GB")) * 10**9
