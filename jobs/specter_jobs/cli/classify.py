"""The command that labels a dump of papers: classify."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import typer

from specter_batch.display import ignored_line
from specter_batch.options import JsonOutput
from specter_batch.options.command import command, interruptible
from specter_batch.start import keep_pandas_out
from specter_batch.storage.location import is_remote
from specter_batch.terminal import error_console, show, show_json
from specter_jobs.output.names import LABELS, REPORT_HTML
from specter_jobs.plan.config import NightConfig

if TYPE_CHECKING:
    from specter_jobs.night.stages import NightResult


@command(
    "specter-batch classify papers night --bundle bundle",
    'specter-batch classify papers "nights/{date}" --bundle bundle --reuse "nights/{yesterday}"',
    "specter-batch classify papers night-fp32 --bundle bundle --graph fp32 --max-reject-rate 0.5",
)
def classify(settings: NightConfig, output: JsonOutput) -> None:
    """Label a dump of papers. If it is interrupted, run it again to resume."""
    from specter_batch.logs import logging_to
    from specter_batch.model.bundle import ModelBundle

    keep_pandas_out()
    console = error_console()
    with (
        interruptible("finished shards are kept; run the same command again to resume"),
        logging_to(console),
        ThreadPoolExecutor(1) as pool,
    ):
        # The graphs are hashed while more modules are imported.
        opening = None if is_remote(settings.bundle) else pool.submit(ModelBundle.open, settings.bundle)
        from specter_jobs.night.run import run_night

        result = run_night(settings, console=console, opening=opening)
    if output.as_json:
        show_json(result.as_json(), in_files_too=True)
    else:
        show(*_summary(result), in_files_too=True)
    raise typer.Exit(result.exit_code)


def _summary(result: "NightResult") -> list[str]:
    report, out = result.report, result.out
    rows, device, run = report.rows, result.manifest.device, result.manifest.this_run
    lines = [
        f"{rows.rows_in:,} rows: {rows.labelled:,} labelled, {rows.reused:,} reused, "
        f"{rows.rejected:,} rejected, {rows.failed:,} failed",
        f"on {device.device} ({device.provider}, {device.graph}), "
        f"{run.papers:,} papers in this run, {run.papers_per_second or 0:,} papers/s"
        + ("" if run.model_wait_share is None else f", the model waited {run.model_wait_share:.0%} of the time"),
    ]
    if run.rewritten:
        lines.append(f"{run.rewritten:,} finished labels were written again with other columns, without the model")
    lines += report.gap_sentences
    lines += report.reuse.sentences() if report.reuse else []
    if report.macro_f1 is not None:
        lines.append(f"macro F1 {report.macro_f1:.4f} over {report.scored_papers:,} papers")
    if report.estimated is not None and report.macro_f1 is None:
        lines.append(str(report.estimated))
    lines += report.audit_sentences[:1] if report.audit is not None and report.audit.tonight.disagreements else []
    lines += report.drift.sentences()
    lines += [f"warning: {unknown}"] if (unknown := report.unknown_labels_sentence) else []
    lines += [undecided] if (undecided := report.undecided_sentence) else []
    lines += [f"warning: {report.labels_not_read}"] if report.labels_not_read else []
    lines += [f"failed: {name}: {error}" for name, error in report.failed_shards.items()]
    if ignored := ignored_line(report.ignored_inputs):
        lines.append(f"ignored: {ignored}")
    lines += [f"gate {gate}" for gate in (*report.failed_gates, *report.inapplicable_gates)]
    lines.append(f"labels: {out / LABELS}   report: {out / REPORT_HTML}")
    return lines
