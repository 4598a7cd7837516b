"""The night: plan, survey, label what is not done yet, account for every row, report, and `_SUCCESS` last."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pydantic import JsonValue
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from specter_batch.model.bundle import ModelBundle
from specter_batch.storage.files import write_json, write_text
from specter_batch.storage.location import Location
from specter_batch.terminal import print_above, progress_bars
from specter_jobs.interrupts import Interrupts, sigterm_interrupts
from specter_jobs.label.assemble import ShardPipeline
from specter_jobs.label.engines import open_engine
from specter_jobs.label.engines.scheduler import Engine, Scheduler
from specter_jobs.label.loop import label_shards
from specter_jobs.logs import log
from specter_jobs.night.audit import take_over_rejects
from specter_jobs.night.from_dump import PlannedInput, plan_input
from specter_jobs.night.manifest import night_manifest
from specter_jobs.night.previous import PreviousNight, find_previous
from specter_jobs.night.replacement import finish_swap, folder_to_label, swap_in
from specter_jobs.output.folder import OutputFolder, output_folder
from specter_jobs.output.held import check_no_file_is_gone, held_in
from specter_jobs.output.ledger import Ledger
from specter_jobs.output.names import (
    CLASSIFY,
    LABELS,
    MANIFEST_FILE,
    REJECTS,
    REPORT_FILE,
    REPORT_HTML,
    REPORT_MARKDOWN,
    SUCCESS_FILE,
)
from specter_jobs.output.plan_file import listed_files, write_plan
from specter_jobs.output.progress import NightWatch
from specter_jobs.output.report_model.manifest import NightManifest
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.identity import NightIdentity
from specter_jobs.plan.sections import LabelRules
from specter_jobs.plan.shards import Plan
from specter_jobs.plan.workload import Workload
from specter_jobs.report.html import night_html
from specter_jobs.report.markdown import night_markdown
from specter_jobs.report.metrics_file import prepare_metrics_file, write_metrics
from specter_jobs.report.night_report import Comparison, night_report, night_totals, truth_problem
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.reuse import local_copies, reusable_labels

EXIT_SHARDS_FAILED = 3
EXIT_GATES_FAILED = 4


@dataclass(frozen=True, kw_only=True)
class NightResult:
    """How a night ended: the report, and 0, `EXIT_SHARDS_FAILED`, or else `EXIT_GATES_FAILED`.

    Attributes:
        out: Folder that the labels are in: OUT, or the folder of a replacement that did not succeed.
    """

    report: NightReport
    manifest: NightManifest
    exit_code: int
    out: Location

    def as_json(self) -> dict[str, JsonValue]:
        """Return what `--json` prints: the report, and the manifest in it."""
        return self.report.model_dump(mode="json") | {"manifest": self.manifest.model_dump(mode="json")}


def run_night(config: NightConfig, *, console: Console) -> NightResult:
    """Label a dump of papers.

    Shards that an earlier run finished for the same rows, bundle and settings are kept. A shard that fails is
    reported and costs no other.

    Args:
        config: What to do.
        console: For progress; nothing is printed to standard output.

    Raises:
        SpecterBatchError: The night could not start.
        KeyboardInterrupt: On Ctrl-C or SIGTERM; what is finished is kept.
    """
    if config.engine == "ray":
        config = config.with_absolute_paths()  # the workers are started in a folder of the cluster's
    with sigterm_interrupts() as signals:
        bundle = ModelBundle.open(config.bundle)
        with closing(open_engine(config, bundle)) as engine:
            return _run(config, bundle, engine, signals, console=console)


def _run(
    config: NightConfig, bundle: ModelBundle, engine: Engine, signals: Interrupts, *, console: Console
) -> NightResult:
    started = time.time()
    others = tuple(night for night in config.reuse if night.resolve() != config.out.resolve())
    if len(others) < len(config.reuse):
        log("own output not reused", level=logging.WARNING, reuse=str(config.out))  # a rerun keeps its labels anyway
        config = config.model_copy(update={"reuse": others})
    base = output_folder(config.out)
    # A DUMP that is not there leaves no folder behind; one that is ingested first is read below the folder's lock.
    planned = plan_input(config, base, console=console) if config.format is None else None
    previous = find_previous(config)
    if config.metrics_file is not None:
        prepare_metrics_file(config.metrics_file)
    with base.claimed(CLASSIFY):
        night = NightIdentity.of(
            config,
            fingerprint=bundle.fingerprint,
            kind=engine.kind,
            graph=bundle.graph_for(engine.kind, config.graph).sha256,
            precisions={graph.sha256: graph.precision for graph in bundle.manifest.graphs},
            root=planned.root if planned else None,
        )
        out, planned = _folder_and_input(config, base, night, planned, console=console)
        result = _labelled(
            config, bundle, engine, signals, out, night, planned, previous=previous, started=started, console=console
        )
        if out is not base and result.exit_code == 0:
            swap_in(base)
            result = replace(result, out=config.out)
        signals.settle(result.exit_code)
    if config.metrics_file is not None:
        _write_metrics(config.metrics_file, result)
    return result


def _folder_and_input(
    config: NightConfig, out: OutputFolder, night: NightIdentity, planned: PlannedInput | None, *, console: Console
) -> tuple[OutputFolder, PlannedInput]:
    """Return the folder to label in and the planned input, if the run may write there.

    Raises:
        ConfigError: Finished labels would be lost, and `config.replace` is not set.
    """
    finish_swap(out)
    held = held_in(out)
    folder = folder_to_label(out, held, night, replace=config.replace)
    planned = planned or plan_input(config, folder, console=console)
    if not config.replace:
        check_no_file_is_gone(out, held, planned.plan, gone=planned.gone)
    return folder, planned


def _labelled(
    config: NightConfig,
    bundle: ModelBundle,
    engine: Engine,
    signals: Interrupts,
    out: OutputFolder,
    night: NightIdentity,
    planned: PlannedInput,
    *,
    previous: PreviousNight | None,
    started: float,
    console: Console,
) -> NightResult:
    """Label what is not done yet in a folder whose lock is held, and write its report."""
    source, root, plan = planned.source, planned.root, planned.plan
    out.prepare(CLASSIFY, (LABELS, REJECTS))
    out.remove_files([SUCCESS_FILE])
    dump = take_over_rejects(out, *source.ingested, labelled_files=planned.labelled_files) if source.ingested else None
    if dump is not None and not plan.failed:
        dump.check(paper_rows=plan.rows)
    unreadable = {**source.failed, **{file.name: file.error for file in plan.failed}}
    ignored = {**source.ignored, **plan.ignored}
    watch = NightWatch(out, rows=plan.rows, shards=len(plan.shards), unreadable=unreadable, ignored=ignored)
    problem = truth_problem(plan, unusable_labels=source.unusable_labels)
    if problem is not None:
        log("true labels not read", level=logging.WARNING, **problem.model_dump())
    with _progress(console) as progress:
        scheduler = Scheduler(engine)  # the workers load while the input is surveyed
        write_plan(out, root, plan, night=night, unreadable=unreadable, ignored=ignored, dump=dump)
        ledger = Ledger(out, binding=night.binding, model=night.model)
        lent = reusable_labels(config.reuse, tonight=night, probabilities=config.probabilities)
        with _deduplicated(plan, config, bundle, lent.files, out, progress, scheduler) as deduplication:
            scheduler.await_worker()
            workload = deduplication.workload(lent.unusable)
            if config.reuse:
                _announce(workload, console)
            pipeline = ShardPipeline(
                scheduler,
                deduplication=deduplication,
                labels=bundle.labels,
                label_file=ledger.label_file,
                probabilities=config.probabilities,
            )
            entries, failed, fresh = label_shards(
                pipeline, ledger, deduplication.shards, workload, config, progress, watch
            )
    damaged = ledger.damaged(list(entries.values()))
    failed = unreadable | failed | damaged
    ordered = [entries[shard.name] for shard in plan.shards if shard.name in entries and shard.name not in damaged]
    if not failed:  # labels of rows that are gone, or were cut into other shards, go when all others are complete
        ledger.remove_strangers(ordered, keep=listed_files(dump))
    comparison = Comparison(
        limits=config.gates,
        require_previous=config.require_previous,
        named=previous.as_report() if previous else None,
        previous=previous.report if previous else None,
    )
    report = night_report(
        night_totals(plan, ordered, failed, bundle, ignored=ignored, dump=dump),
        bundle,
        comparison,
        labels_not_read=problem,
        reuse=workload.as_report() if config.reuse else None,
    )
    exit_code = EXIT_SHARDS_FAILED if failed else 0 if report.succeeded else EXIT_GATES_FAILED
    manifest = night_manifest(config, bundle, scheduler, report, started=started, fresh=fresh)
    write_json(out / REPORT_FILE, report.model_dump(mode="json"))
    write_text(out / REPORT_MARKDOWN, night_markdown(report))
    write_text(out / REPORT_HTML, night_html(report, manifest, ordered))
    write_json(out / MANIFEST_FILE, manifest.model_dump(mode="json"))
    signals.hold()
    if exit_code == 0:
        write_text(out / SUCCESS_FILE, "")
    watch.ended(report, exit_code=exit_code)
    return NightResult(report=report, manifest=manifest, exit_code=exit_code, out=out.place)


def _write_metrics(file: Path, result: NightResult) -> None:
    try:
        write_metrics(file, result.report, result.manifest, exit_code=result.exit_code, now=time.time())
    except OSError as error:  # the night is complete, and its exit code is certain
        log("metrics not written", level=logging.WARNING, file=str(file), error=str(error))


@contextmanager
def _deduplicated(
    plan: Plan,
    config: NightConfig,
    bundle: ModelBundle,
    known: Sequence[Location],
    out: OutputFolder,
    progress: Progress,
    scheduler: Scheduler,
) -> Iterator[Deduplication]:
    task = progress.add_task("survey", total=plan.rows)

    def advance(rows: int) -> None:
        progress.update(task, advance=rows)
        scheduler.check()  # of a bundle that cannot run, not only when all is surveyed

    with out.scratch() as scratch:
        deduplication = Deduplication(
            plan.shards,
            config.section(LabelRules),
            template=bundle.text_template,
            known_labels=local_copies(known, scratch),
            scratch=scratch,
            advance=advance,
        )
        pa.default_memory_pool().release_unused()  # texts of the whole input have passed through it
        try:
            yield deduplication
        finally:
            deduplication.close()


def _announce(workload: Workload, console: Console) -> None:
    """Say before the labelling what earlier nights save, in the log and on a terminal."""
    reuse = workload.as_report()
    log("labels of earlier nights", **reuse.model_dump())
    if console.is_terminal:
        for sentence in reuse.sentences():
            print_above(console, sentence)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return progress_bars(console, *columns)
