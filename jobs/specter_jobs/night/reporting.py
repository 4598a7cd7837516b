"""Write the report of a labelled night, and choose the exit code."""

import logging

from specter_batch.logs import log
from specter_batch.model.bundle import ModelBundle
from specter_batch.storage.files import write_json, write_text
from specter_jobs.night.manifest import night_manifest
from specter_jobs.night.previous import PreviousNight
from specter_jobs.night.stages import LabelledNight, NightResult, PlannedNight
from specter_jobs.output.names import MANIFEST_FILE, REPORT_FILE, REPORT_HTML, REPORT_MARKDOWN
from specter_jobs.plan.config import NightConfig
from specter_jobs.report.audit import AuditedModel
from specter_jobs.report.html import night_html
from specter_jobs.report.markdown import night_markdown
from specter_jobs.report.night_report import Comparison, night_report, night_totals
from specter_jobs.report.papers_behind import NightFiles, night_papers

EXIT_SHARDS_FAILED = 3
EXIT_GATES_FAILED = 4


def report_night(
    config: NightConfig,
    bundle: ModelBundle,
    planned: PlannedNight,
    labelled: LabelledNight,
    previous: PreviousNight | None,
    *,
    started: float,
) -> NightResult:
    """Account for every row, check the gates, and write the report and the manifest.

    Args:
        config: Settings of the night.
        bundle: The model.
        planned: The plan.
        labelled: The labels.
        previous: The night to compare with.
        started: Start of the run, in seconds since the epoch.
    """
    comparison = Comparison(
        limits=config.gates,
        require_previous=config.require_previous,
        named=previous.as_report() if previous else None,
        previous=previous.report if previous else None,
        nearest=previous.nearest if previous else None,
        model=AuditedModel(
            model=planned.model.hash,
            precision=planned.graph.precision,
            date=planned.form.night.isoformat(),
            is_on=config.audit_share != 0,
        ),
    )
    totals = night_totals(
        planned.plan,
        labelled.entries,
        labelled.failed,
        bundle,
        graph=planned.graph,
        ignored=planned.ignored,
        dump=planned.dump,
    )
    report = night_report(
        totals,
        bundle,
        comparison,
        labelled.entries,
        labels_not_read=planned.labels_not_read,
        reuse=labelled.workload.as_report() if config.reuse else None,
    )
    if report.gap_sentences:
        log(
            "labels lack values that an earlier night did not store",
            level=logging.WARNING,
            without_margin=report.without_margin,
            without_logits=report.without_logits,
        )
    exit_code = EXIT_SHARDS_FAILED if labelled.failed else 0 if report.succeeded else EXIT_GATES_FAILED
    manifest = night_manifest(config, bundle, labelled.workers, report, started=started, fresh=labelled.fresh)
    out = planned.out
    write_json(out / REPORT_FILE, report.model_dump(mode="json"))
    write_text(out / REPORT_MARKDOWN, night_markdown(report))
    files = NightFiles(
        out=out.place,
        entries=labelled.entries,
        rejects=planned.dump.rejects if planned.dump else (),
        inputs=planned.plan.files,
    )
    papers = night_papers(report, files)
    write_text(out / REPORT_HTML, night_html(report, manifest, labelled.entries, papers))
    write_json(out / MANIFEST_FILE, manifest.model_dump(mode="json"))
    return NightResult(report=report, manifest=manifest, exit_code=exit_code, out=out.place)
