"""The night's report: JSON first, Markdown as a view of it.

It holds nothing of clocks, so a rerun gives the same bytes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from specter_batch.display import markdown_text
from specter_batch.metrics.f1 import N_SCORE_BINS
from specter_batch.metrics.score_report import ScoreReport
from specter_batch.metrics.scores import Scores, scores_markdown
from specter_batch.model.bundle import ModelBundle
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.plan_file import DumpAccount
from specter_jobs.plan.shards import Plan
from specter_jobs.plan.workload import reuse_sentences
from specter_jobs.report.drift import drift_markdown
from specter_jobs.report.gates import gates_markdown

# A folder may hold a checksum for each of 100,000 files.
MAX_IGNORED_SHOWN = 50


def night_report(
    plan: Plan,
    entries: Sequence[LedgerEntry],
    failed_shards: dict[str, str],
    bundle: ModelBundle,
    *,
    ignored: Mapping[str, str],
    dump: DumpAccount | None = None,
) -> dict[str, Any]:
    """Add up the finished shards.

    Args:
        plan: The night's input.
        entries: Of the finished shards, in the plan's order.
        failed_shards: Shard or file name -> error.
        bundle: That labelled them.
        ignored: What was found in the input and is not read -> why.
        dump: What the ingest made of the dump, whose rejects are the night's; None for parquet.
    """
    labels = bundle.labels
    scores = reduce(add, (entry.tallies() for entry in entries), Scores.empty(len(labels)))
    rejects: Counter[str] = Counter(dump.rejects_by_reason if dump else {})
    for entry in entries:
        rejects.update(entry.rejects_by_reason)
    with_label = sum(entry.labels.rows for entry in entries)
    reused = sum(entry.reused for entry in entries)
    label_papers = np.sum([np.zeros(len(labels), np.int64), *(np.array(e.label_papers) for e in entries)], axis=0)
    slices = [entry.title_only for entry in entries if entry.title_only is not None]
    bin_papers = np.sum([np.zeros(N_SCORE_BINS, np.int64), *(np.array(e.bin_papers) for e in entries)], axis=0)
    return {
        **scores.as_report(labels).model_dump(mode="json"),
        "unknown_labels": sum(entry.unknown_labels for entry in entries),
        "language_undecided": sum(entry.language_undecided for entry in entries),
        "rows": {
            "in": plan.rows + (dump.rejected if dump else 0),
            "labelled": with_label - reused,
            "reused": reused,
            "rejected": sum(rejects.values()),
            "failed": plan.rows - sum(entry.rows for entry in entries),
        },
        "rejects_by_reason": dict(sorted(rejects.items())),
        "label_papers": {name: int(label_papers[i]) for i, name in enumerate(labels)},
        "label_shares": {name: float(label_papers[i] / max(with_label, 1)) for i, name in enumerate(labels)},
        "score_histogram": (bin_papers / max(with_label, 1)).tolist(),
        "mean_score": sum(entry.score_sum for entry in entries) / with_label if with_label else None,
        "title_only": reduce(add, slices).as_report(labels) if slices else None,
        "shards": {"planned": len(plan.shards), "finished": len(entries), "failed": len(failed_shards)},
        "failed_shards": failed_shards,
        "ignored_inputs": dict(ignored),
        "files": dump.files if dump else len(plan.files) + len(plan.failed),
        **(
            {"dump": dump.model_dump(exclude={"files", "rejects", "rejects_by_reason", "labelled_files"})}
            if dump
            else {}
        ),
        "bundle": bundle.fingerprint,
    }


def undecided_sentence(report: Mapping[str, Any]) -> str:
    """Say how many papers were kept without a verdict on their language."""
    return (
        f"{report['language_undecided']:,} papers have too few words to tell their language and were kept (language "
        "undecided)"
    )


def truth_problem(plan: Plan, *, unusable_labels: int = 0) -> dict[str, Any] | None:
    """Describe the true labels that came with the input and cannot be used; None when there are none.

    Args:
        plan: Of the night.
        unusable_labels: Papers of a dump that the ingest kept without their label.

    Returns:
        `papers` that have no true label because of it, and the `first` problem in words.
    """
    problems = plan.label_problems
    papers = sum(file.rows for file in plan.files if file.name in problems) + unusable_labels
    if not papers:
        return None
    first = next(iter(problems.values()), "labels of the dump are neither text nor whole numbers")
    return {"files": len(problems), "papers": papers, "first": first}


def truth_problem_sentence(problem: Mapping[str, Any]) -> str:
    """Say in words that true labels were not read."""
    return (
        f"{problem['papers']:,} papers have a label that cannot be read and count as papers without a true label "
        f"({problem['first']}); --label-column none reads no labels"
    )


def unknown_labels_sentence(report: Mapping[str, Any]) -> str | None:
    """Say how many papers have a true label that the model does not know; None when there are none."""
    unknown = report["unknown_labels"]
    if not unknown:
        return None
    every = unknown + report["scored_papers"] + report["seen_in_training"]
    return (
        f"{unknown:,} of {every:,} papers with a true label are not scored, because the model does not know their label"
    )


def night_markdown(report: dict[str, Any]) -> str:
    """Render the night's report, with its drift and gates, as Markdown."""
    rows, shards = report["rows"], report["shards"]
    lines = [
        "# Night report",
        "",
        f"{rows['in']:,} rows in {report['files']:,} files: {rows['labelled']:,} labelled, {rows['reused']:,} reused, "
        f"{rows['rejected']:,} rejected, {rows['failed']:,} in failed shards. "
        f"Shards finished: {shards['finished']:,} of {shards['planned']:,}.",
        "",
    ]
    if (dump := report.get("dump")) is not None:
        lines += [
            f"{dump['records']:,} records were read from the dump. Not counted as rows: {dump['tombstones']:,} that "
            f"withdraw others, {dump['filtered']:,} filtered out.",
            "",
        ]
    if report["failed_shards"]:
        lines += ["## Failed", ""]
        lines += [f"- {markdown_text(name)}: {markdown_text(error)}" for name, error in report["failed_shards"].items()]
        lines += ["", "The input files named here are to be mended; a rerun does only these shards.", ""]
    if report["reuse"]:
        lines += ["## Reuse", "", *(f"- {markdown_text(line)}." for line in reuse_sentences(report["reuse"])), ""]
    lines += ["## Gates", "", gates_markdown(report["gates"])]
    lines += ["## Scores", "", scores_markdown(ScoreReport.model_validate(report))]
    unknown = unknown_labels_sentence(report)
    lines += [f"{unknown}.", ""] if unknown else []
    if report["labels_not_read"]:
        lines += [f"{markdown_text(truth_problem_sentence(report['labels_not_read']))}.", ""]
    lines += ["## Labels", "", "| label | papers | share |", "|---|---:|---:|"]
    lines += [
        f"| {markdown_text(name)} | {papers:,} | {report['label_shares'][name]:.2%} |"
        for name, papers in report["label_papers"].items()
    ]
    if report["mean_score"] is not None:
        lines += ["", f"Mean score {report['mean_score']:.4f}."]
    if report["title_only"] is not None:
        lines += ["", "## Papers without abstract", "", title_only_markdown(report)]
    lines += ["", "## Drift", "", drift_markdown(report)]
    lines += ["## Rejects", ""]
    if report["rejects_by_reason"]:
        lines += ["| reason | rows |", "|---|---:|"]
        lines += [f"| {markdown_text(reason)} | {count:,} |" for reason, count in report["rejects_by_reason"].items()]
    else:
        lines += ["None."]
    if report["language_undecided"]:
        lines += ["", f"{undecided_sentence(report)}."]
    lines += ignored_markdown(report["ignored_inputs"])
    return "\n".join(lines) + "\n"


def ignored_markdown(ignored: Mapping[str, str]) -> list[str]:
    """Return the lines that list what was found in the input and is not read."""
    if not ignored:
        return []
    lines = ["", "## Input that was ignored", ""]
    shown = list(ignored.items())[:MAX_IGNORED_SHOWN]
    lines += [f"- {markdown_text(name)}: {markdown_text(reason)}" for name, reason in shown]
    if len(ignored) > MAX_IGNORED_SHOWN:
        lines += ["", f"{len(ignored) - MAX_IGNORED_SHOWN:,} more are listed in `report.json` under `ignored_inputs`."]
    return lines


def title_only_markdown(report: dict[str, Any]) -> str:
    """Render what is known of the papers that were labelled by their title alone, beside all papers."""
    part = report["title_only"]
    lines = [f"{part['papers']:,} papers were labelled by their title alone: mean score {part['mean_score']:.4f}."]
    if part["macro_f1"] is not None:
        lines[0] += f" **Macro F1 {part['macro_f1']:.4f}**, accuracy {part['accuracy']:.4f}, over "
        lines[0] += f"{part['scored_papers']:,} of them that have a true label and were not in the training data."
    lines += ["", "| label | papers | share | of all papers |", "|---|---:|---:|---:|"]
    lines += [
        f"| {markdown_text(name)} | {papers:,} | {part['label_shares'][name]:.2%} "
        f"| {report['label_shares'][name]:.2%} |"
        for name, papers in part["label_papers"].items()
    ]
    return "\n".join(lines)
