"""Reports of made-up nights, for tests of charts, gates and messages."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from specter_batch.metrics.f1 import score_bins
from specter_batch.metrics.score_report import N_SCORE_BINS
from specter_batch.metrics.scores import Scores
from specter_batch.model.bundle_files import BundleReference
from specter_batch.papers.labels import LabelSet
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import OutputFile
from specter_jobs.output.report_model.audit import AuditCounts, AuditedPaper, AuditReport
from specter_jobs.output.report_model.manifest import BundleUsed, DeviceUsed, NightManifest, ThisRun
from specter_jobs.output.report_model.parts import PreviousReport, RowCounts, ShardCounts
from specter_jobs.output.report_model.report import SCHEMA_VERSION, NightReport, NightTotals
from specter_jobs.plan.limits import GateLimits
from specter_jobs.report.audit import AuditedModel, audit_report
from specter_jobs.report.drift import drift_report
from specter_jobs.report.gates import judge

REJECTS = {"duplicate_id": 3, "not_english": 7}


def report_of(
    labels: Sequence[str] = ("art", "law", "music"),
    *,
    papers: int = 200,
    scored: int = 100,
    failed_shards: dict[str, str] | None = None,
    ignored: dict[str, str] | None = None,
    previous: NightReport | None = None,
    gates: GateLimits | None = None,
    disagreements: int = 0,
    seed: int = 0,
) -> NightReport:
    """Return the report of a night in which about four of five labels are right."""
    rng = np.random.default_rng(seed)
    names = LabelSet(names=tuple(labels))
    true = rng.integers(0, len(names), papers)
    predicted = np.where(rng.random(papers) < 0.8, true, rng.integers(0, len(names), papers))
    scores = rng.beta(5, 2, papers)
    tallies = Scores.count(
        true[:scored], predicted[:scored], scores[:scored], seen=np.zeros(scored, np.bool_), n_labels=len(names)
    )
    counts = np.bincount(predicted, minlength=len(names))
    failed = failed_shards or {}
    totals = NightTotals(
        schema_version=SCHEMA_VERSION,
        **dict(tallies.as_report(names)),
        rows=RowCounts(
            rows_in=papers + sum(REJECTS.values()) + 50 * len(failed),
            labelled=papers,
            reused=0,
            rejected=sum(REJECTS.values()),
            failed=50 * len(failed),
        ),
        rejects_by_reason=REJECTS,
        label_papers={name: int(counts[i]) for i, name in enumerate(names)},
        label_shares={name: float(counts[i] / max(papers, 1)) for i, name in enumerate(names)},
        score_histogram=(np.bincount(score_bins(scores), minlength=N_SCORE_BINS) / max(papers, 1)).tolist(),
        mean_score=float(scores.mean()) if papers else None,
        shards=ShardCounts(planned=2 + len(failed), finished=2, failed=len(failed)),
        failed_shards=failed,
        ignored_inputs=ignored or {},
        files=2,
        bundle="f" * 64,
    )
    report = NightReport(
        **dict(totals),
        audit=audit_of(papers=papers, disagreements=disagreements),
        previous=None if previous is None else PreviousReport(asked="before", used="before", passed_over={}),
        drift=drift_report(totals, reference=BundleReference.model_validate(reference_of(labels)), previous=previous),
        gates=(),
    )
    return changed(report, gates=judge(gates or GateLimits(), report))


def audit_of(*, papers: int, disagreements: int) -> AuditReport:
    """Return an audit of all papers of a night, of which half are clear."""
    counts = AuditCounts(
        papers=papers,
        deferred=papers // 10,
        disagreements=disagreements,
        clear_papers=papers // 2,
        clear_disagreements=disagreements // 2,
        shown=[
            AuditedPaper(paper_id=f"p{row}", file="a.parquet", row=row, label="art", exact_label="law")
            for row in range(min(disagreements, 3))
        ],
    )
    entry = entry_of(0, papers=papers).model_copy(update={"audit": counts})
    model = AuditedModel(model="m", precision="int8", date="2026-11-22", is_on=True)
    return audit_report(model, [entry], before=None, named=False)


def changed(report: NightReport, **values: Any) -> NightReport:
    """Return a report in which some fields have other values."""
    return report.model_copy(update=values)


def reference_of(labels: Sequence[str]) -> dict[str, Any]:
    """Return a bundle's `reference.json` with even shares."""
    return {
        "papers": 300,
        "label_shares": {name: 1 / len(labels) for name in labels},
        "score_histogram": [1 / N_SCORE_BINS] * N_SCORE_BINS,
        "mean_score": 0.7,
    }


def manifest_of(report: NightReport) -> NightManifest:
    """Return the manifest of the night."""
    return NightManifest(
        started="2026-11-22T02:00:00+00:00",
        finished="2026-11-22T02:10:00+00:00",
        seconds=600.0,
        host="batch",
        config={"date": "2026-11-22", "dump": "papers", "previous": None},
        bundle=BundleUsed(path="bundle", fingerprint="f" * 64, encoder="allenai/specter"),
        device=DeviceUsed(
            asked="auto",
            device="cpu",
            provider="CPUExecutionProvider",
            graph="model_int8.onnx",
            engine="local",
            workers=1,
            threads=2,
            max_batch_tokens=None,
        ),
        rows=report.rows,
        shards=report.shards,
        this_run=ThisRun(shards=2, papers=200, seconds=50.0, papers_per_second=4.0, model_wait_share=0.125),
        ledger="ledger.jsonl",
        versions={"python": "3.12.0"},
    )


def entry_of(number: int, *, file: str = "a.parquet", papers: int = 100, seconds: float = 20.0) -> LedgerEntry:
    """Return the ledger entry of a finished shard."""
    return LedgerEntry(
        shard=f"a-{number}",
        file=file,
        start=100 * number,
        rows=100,
        content="",
        binding="",
        model="",
        labels=OutputFile(name=f"labels/a-{number}.parquet", rows=papers, size=1, sha256=""),
        reused=0,
        rejects=None,
        rejects_by_reason={},
        scores={},
        unknown_labels=0,
        label_papers=[],
        bin_papers=[],
        score_sum=0.0,
        seconds=seconds,
        model_seconds=0.75 * seconds,
    )
