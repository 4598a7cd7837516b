"""The report of a night: the sums of its shards, its drift and its gates.

The report has no times, so a rerun gives the same bytes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from specter_batch.metrics.estimated import estimated_scores
from specter_batch.metrics.score_report import N_SCORE_BINS, EstimatedScores
from specter_batch.metrics.scores import Scores
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.manifest import GraphEntry
from specter_batch.papers.labels import LabelSet
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.plan_file import DumpAccount
from specter_jobs.output.report_model.parts import (
    DumpRecords,
    LabelsNotRead,
    PreviousReport,
    RowCounts,
    ShardCounts,
    TitleOnlyReport,
    TokenDifferences,
)
from specter_jobs.output.report_model.report import SCHEMA_VERSION, NightReport, NightTotals
from specter_jobs.output.title_only import TitleOnlySums
from specter_jobs.plan.limits import GateLimits
from specter_jobs.plan.reuse_report import ReuseReport
from specter_jobs.plan.shards import Plan
from specter_jobs.report.audit import AuditedModel, audit_report
from specter_jobs.report.drift import drift_report
from specter_jobs.report.gates import judge


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Limits and earlier night that a night is compared with.

    Attributes:
        limits: Limits of the gates.
        require_previous: True to fail the gates that compare with an earlier night if there is no earlier night.
        named: Nights that were found for `--previous`; None without `--previous`.
        previous: Report of the earlier night; None without an earlier night.
        nearest: Report of the night before, whether or not it succeeded. The audit continues its series.
        model: The model that labels, and whether its labels are audited.
    """

    limits: GateLimits
    require_previous: bool
    named: PreviousReport | None
    previous: NightReport | None
    nearest: NightReport | None
    model: AuditedModel


def night_report(
    totals: NightTotals,
    bundle: ModelBundle,
    comparison: Comparison,
    entries: Sequence[LedgerEntry],
    *,
    labels_not_read: LabelsNotRead | None,
    reuse: ReuseReport | None,
) -> NightReport:
    """Return the whole report of a night.

    Args:
        totals: Sums of the finished shards.
        bundle: The bundle that labelled them.
        comparison: The limits to keep, and the earlier night.
        entries: Ledger entries of the finished shards, in the plan's order.
        labels_not_read: True labels of the input that cannot be read.
        reuse: How many papers took their label from earlier nights; None without `--reuse`.
    """
    report = NightReport(
        **dict(totals),
        labels_not_read=labels_not_read,
        reuse=reuse,
        previous=comparison.named,
        audit=audit_report(comparison.model, entries, before=comparison.nearest, named=comparison.named is not None),
        drift=drift_report(totals, reference=bundle.reference(), previous=comparison.previous),
        gates=(),
    )
    gates = judge(comparison.limits, report, require_previous=comparison.require_previous)
    return report.model_copy(update={"gates": gates})


def night_totals(
    plan: Plan,
    entries: Sequence[LedgerEntry],
    failed_shards: Mapping[str, str],
    bundle: ModelBundle,
    *,
    graph: GraphEntry,
    ignored: Mapping[str, str],
    dump: DumpAccount | None = None,
) -> NightTotals:
    """Add up the finished shards.

    Args:
        plan: The night's input.
        entries: Ledger entries of the finished shards, in the plan's order.
        failed_shards: Shard or file name -> error.
        bundle: The bundle that labelled them.
        graph: The graph of the bundle that labelled them.
        ignored: Entries of the input that are not read -> reason.
        dump: Account of the ingest, whose rejects are rejects of the night; None for parquet.
    """
    labels = bundle.labels
    scores = reduce(add, (entry.tallies() for entry in entries), Scores.empty(len(labels))).as_report(labels)
    rejects: Counter[str] = Counter(dump.rejects_by_reason if dump else {})
    for entry in entries:
        rejects.update(entry.rejects_by_reason)
    with_label = sum(entry.labels.rows for entry in entries)
    reused = sum(entry.reused for entry in entries)
    label_papers = np.sum([np.zeros(len(labels), np.int64), *(np.array(e.label_papers) for e in entries)], axis=0)
    title_only = [entry.title_only for entry in entries if entry.title_only is not None]
    bin_papers = np.sum([np.zeros(N_SCORE_BINS, np.int64), *(np.array(e.bin_papers) for e in entries)], axis=0)
    return NightTotals(
        schema_version=SCHEMA_VERSION,
        **dict(scores),
        unknown_labels=sum(entry.unknown_labels for entry in entries),
        without_margin=sum(entry.without_margin for entry in entries),
        without_logits=sum(entry.without_logits for entry in entries),
        language_undecided=sum(entry.language_undecided for entry in entries),
        rows=RowCounts(
            rows_in=plan.rows + (dump.rejected if dump else 0),
            labelled=with_label - reused,
            reused=reused,
            rejected=sum(rejects.values()),
            failed=plan.rows - sum(entry.rows for entry in entries),
        ),
        rejects_by_reason=dict(sorted(rejects.items())),
        label_papers={name: int(label_papers[i]) for i, name in enumerate(labels)},
        label_shares={name: float(label_papers[i] / max(with_label, 1)) for i, name in enumerate(labels)},
        score_histogram=(bin_papers / max(with_label, 1)).tolist(),
        mean_score=sum(entry.score_sum for entry in entries) / with_label if with_label else None,
        title_only=_title_only(reduce(add, title_only), labels) if title_only else None,
        shards=ShardCounts(planned=len(plan.shards), finished=len(entries), failed=len(failed_shards)),
        failed_shards=failed_shards,
        ignored_inputs=ignored,
        files=dump.files if dump else len(plan.files) + len(plan.failed),
        dump=_records(dump) if dump else None,
        bundle=bundle.fingerprint,
        certificate=graph.certificate.sentence if graph.certificate is not None else None,
        token_differences=_token_differences(entries),
        estimated=_estimated(entries, validation_papers=bundle.reference().papers),
    )


def _token_differences(entries: Sequence[LedgerEntry]) -> TokenDifferences | None:
    """Return how many shards and texts got other ids from the fast tokenizer; None if there are none."""
    found = [entry.token_differences for entry in entries if entry.token_differences]
    return TokenDifferences(shards=len(found), texts=sum(found)) if found else None


def _estimated(entries: Sequence[LedgerEntry], *, validation_papers: int) -> EstimatedScores | None:
    """Estimate the scores from the shards in which the probabilities of all papers are known."""
    known = [(entry.expected, entry.label_papers) for entry in entries if entry.expected is not None]
    if not known:
        return None
    predicted = np.sum([label_papers for _, label_papers in known], axis=0).tolist()
    return estimated_scores(reduce(add, (sums for sums, _ in known)), predicted, validation_papers=validation_papers)


def _records(dump: DumpAccount) -> DumpRecords:
    return DumpRecords(records=dump.records, papers=dump.papers, filtered=dump.filtered, tombstones=dump.tombstones)


def _title_only(sums: TitleOnlySums, labels: LabelSet) -> TitleOnlyReport:
    """Return the part about papers without abstract; without true labels of unseen papers it has no F1."""
    scores = Scores.from_json(sums.scores).as_report(labels)
    by_label = list(zip(labels, sums.label_papers, strict=True))
    return TitleOnlyReport(
        papers=sums.papers,
        mean_score=sums.score_sum / sums.papers,
        label_papers=dict(by_label),
        label_shares={name: papers / sums.papers for name, papers in by_label},
        macro_f1=scores.macro_f1,
        accuracy=scores.accuracy,
        scored_papers=scores.scored_papers,
        seen_in_training=scores.seen_in_training,
    )
