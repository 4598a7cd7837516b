"""A run of the nightly job: plan, label, report, finish."""

import logging
import time
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console

from specter_batch.model.bundle import ModelBundle
from specter_batch.storage.files import write_json, write_text
from specter_batch.storage.location import Location
from specter_jobs.interrupts import Interrupts, sigterm_interrupts
from specter_jobs.label.engines import open_engine
from specter_jobs.label.engines.scheduler import Engine, Scheduler
from specter_jobs.logs import log
from specter_jobs.night.from_dump import plan_input
from specter_jobs.night.labelled import LabelledNight, LabelLimits, label_night
from specter_jobs.night.manifest import night_manifest
from specter_jobs.night.planned import PlannedInput, PlannedNight
from specter_jobs.night.planning import plan_night
from specter_jobs.night.previous import PreviousNight, find_previous
from specter_jobs.night.replacement import finish_swap, swap_in
from specter_jobs.output.folder import output_folder
from specter_jobs.output.names import CLASSIFY, MANIFEST_FILE, REPORT_FILE, REPORT_HTML, REPORT_MARKDOWN, SUCCESS_FILE
from specter_jobs.output.report_model.manifest import NightManifest
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.sections import Cluster, LabelRules, Model
from specter_jobs.report.html import night_html
from specter_jobs.report.markdown import night_markdown
from specter_jobs.report.metrics_file import prepare_metrics_file, write_metrics
from specter_jobs.report.night_report import Comparison, night_report, night_totals

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
        cluster, model, rules = config.section(Cluster), config.section(Model), config.section(LabelRules)
        with closing(open_engine(cluster, model, rules, bundle)) as engine:
            return Night(config, bundle, engine, signals, console=console).run()


class Night:
    """One run of the job over the papers of a night.

    Args:
        config: Settings of the night.
        bundle: The model.
        engine: Runs the workers.
        signals: Holds signals back once the night is complete.
        console: For progress.
    """

    def __init__(
        self, config: NightConfig, bundle: ModelBundle, engine: Engine, signals: Interrupts, *, console: Console
    ) -> None:
        self._started = time.time()
        self._config = _without_own_output(config)
        self._bundle, self._engine, self._signals, self._console = bundle, engine, signals, console
        self._out = output_folder(config.out)

    def run(self) -> NightResult:
        """Take the night through all its stages; what can be wrong with its settings is reported before OUT is made."""
        config = self._config
        # A dump of another format is ingested below the lock of OUT.
        papers = plan_input(config, self._out, console=self._console) if config.format is None else None
        previous = find_previous(config.previous, config.previous_nights(), out=config.out, limits=config.gates)
        if config.metrics_file is not None:
            prepare_metrics_file(config.metrics_file)
        with self._out.claimed(CLASSIFY):
            planned = self.plan(papers)
            labelled = self.label(planned)
            result = self.finish(planned, self.report(planned, labelled, previous))
        if config.metrics_file is not None:
            _write_metrics(config.metrics_file, result)
        return result

    def plan(self, papers: PlannedInput | None) -> PlannedNight:
        """Choose the folder to label in and write `plan.json` there; papers that are None are ingested first."""
        config = self._config
        finish_swap(self._out)
        ingested = partial(plan_input, config, console=self._console)
        return plan_night(config, self._bundle, self._engine.kind, out=self._out, papers=papers, ingested=ingested)

    def label(self, planned: PlannedNight) -> LabelledNight:
        """Label the shards that are not done yet."""
        config = self._config
        limits = LabelLimits(reuse=config.reuse, max_fresh=config.max_fresh, max_failed_shards=config.max_failed_shards)
        rules = config.section(LabelRules)
        return label_night(planned, self._bundle, Scheduler(self._engine), rules, limits, console=self._console)

    def report(self, planned: PlannedNight, labelled: LabelledNight, previous: PreviousNight | None) -> NightResult:
        """Account for every row, judge the gates, and write the report and the manifest."""
        config, bundle = self._config, self._bundle
        comparison = Comparison(
            limits=config.gates,
            require_previous=config.require_previous,
            named=previous.as_report() if previous else None,
            previous=previous.report if previous else None,
        )
        totals = night_totals(
            planned.plan, labelled.entries, labelled.failed, bundle, ignored=planned.ignored, dump=planned.dump
        )
        report = night_report(
            totals,
            bundle,
            comparison,
            labels_not_read=planned.labels_not_read,
            reuse=labelled.workload.as_report() if config.reuse else None,
        )
        exit_code = EXIT_SHARDS_FAILED if labelled.failed else 0 if report.succeeded else EXIT_GATES_FAILED
        manifest = night_manifest(config, bundle, labelled.workers, report, started=self._started, fresh=labelled.fresh)
        out = planned.out
        write_json(out / REPORT_FILE, report.model_dump(mode="json"))
        write_text(out / REPORT_MARKDOWN, night_markdown(report))
        write_text(out / REPORT_HTML, night_html(report, manifest, labelled.entries))
        write_json(out / MANIFEST_FILE, manifest.model_dump(mode="json"))
        return NightResult(report=report, manifest=manifest, exit_code=exit_code, out=out.place)

    def finish(self, planned: PlannedNight, result: NightResult) -> NightResult:
        """Write `_SUCCESS` if nothing failed, and let a complete replacement take the place of the older night."""
        self._signals.hold()
        if result.exit_code == 0:
            write_text(planned.out / SUCCESS_FILE, "")
        planned.watch.ended(result.report, exit_code=result.exit_code)
        if planned.out is not self._out and result.exit_code == 0:
            swap_in(self._out)
            result = replace(result, out=self._config.out)
        self._signals.settle(result.exit_code)
        return result


def _without_own_output(config: NightConfig) -> NightConfig:
    """Return the settings without OUT among the nights whose labels are reused: a rerun keeps its labels anyway."""
    others = tuple(night for night in config.reuse if night.resolve() != config.out.resolve())
    if len(others) == len(config.reuse):
        return config
    log("own output not reused", level=logging.WARNING, reuse=str(config.out))
    return config.model_copy(update={"reuse": others})


def _write_metrics(file: Path, result: NightResult) -> None:
    try:
        write_metrics(file, result.report, result.manifest, exit_code=result.exit_code, now=time.time())
    except OSError as error:  # the night is complete, and its exit code is certain
        log("metrics not written", level=logging.WARNING, file=str(file), error=str(error))
