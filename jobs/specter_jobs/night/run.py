"""A run of the nightly job: plan, label, report, finish."""

import logging
import time
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from specter_batch.errors import UsageError
from specter_batch.logs import log
from specter_batch.model.bundle import ModelBundle
from specter_batch.start import Interrupts, sigterm_interrupts
from specter_batch.storage.files import write_text
from specter_jobs.label.engines import open_engine
from specter_jobs.label.engines.scheduler import Engine, Scheduler
from specter_jobs.night.from_dump import plan_input
from specter_jobs.night.labelling import LabelLimits, label_night
from specter_jobs.night.planning import plan_night
from specter_jobs.night.previous import PreviousNight, find_previous
from specter_jobs.night.replacement import finish_swap, swap_in
from specter_jobs.night.stages import LabelledNight, NightResult, PlannedInput, PlannedNight
from specter_jobs.output.folder import output_folder
from specter_jobs.output.names import CLASSIFY, SUCCESS_FILE
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.limits import GateLimits
from specter_jobs.plan.sections import Cluster, LabelRules, Model
from specter_jobs.report.gates import AUDIT_GATES
from specter_jobs.report.metrics_file import prepare_metrics_file, write_metrics


def run_night(config: NightConfig, *, console: Console, opening: Future[ModelBundle] | None = None) -> NightResult:
    """Label a dump of papers.

    Shards that an earlier run finished for the same rows, bundle and settings are kept. A shard that fails is reported
    and does not affect the others.

    Args:
        config: Settings of the night.
        console: Console for progress. Nothing is printed to standard output.
        opening: The bundle, if another thread opens it already; it is opened here when None.

    Raises:
        SpecterBatchError: The night could not start.
        KeyboardInterrupt: The user pressed Ctrl-C, or SIGTERM arrived. Finished shards are kept.
    """
    if config.engine == "ray":
        config = config.with_absolute_paths()  # the cluster starts workers in another folder
    with sigterm_interrupts() as signals:
        bundle = ModelBundle.open(config.bundle) if opening is None else opening.result()
        cluster, model, rules = config.section(Cluster), config.section(Model), config.section(LabelRules)
        audit = config.audit_share != 0
        with closing(open_engine(cluster, model, rules, bundle, audit=audit)) as engine:
            return Night(config, bundle, engine, signals, console=console).run()


class Night:
    """One run of the job over the papers of a night.

    Args:
        config: Settings of the night.
        bundle: The model.
        engine: Engine that runs the workers.
        signals: Handler that ignores signals once the night is complete.
        console: Console for progress.
    """

    def __init__(
        self, config: NightConfig, bundle: ModelBundle, engine: Engine, signals: Interrupts, *, console: Console
    ) -> None:
        self._started = time.time()
        self._config = _without_own_output(config)
        self._bundle, self._engine, self._signals, self._console = bundle, engine, signals, console
        self._out = output_folder(config.out)

    def run(self) -> NightResult:
        """Run all stages of the night. Wrong settings are reported before OUT is created."""
        config = self._config
        if config.embeddings:
            self._bundle.embedding_size  # noqa: B018 - an error if the bundle gives no vectors, before hours of ingest
        # A dump of another format is ingested later, while the lock of OUT is held.
        papers = plan_input(config, self._out, console=self._console) if config.format is None else None
        if config.audit_share == 0:
            _check_no_audit(config.gates)
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
        """Choose the folder to label in, and write `plan.json` there. Without papers, the dump is ingested first."""
        config = self._config
        finish_swap(self._out)
        ingested = partial(plan_input, config, console=self._console)
        return plan_night(config, self._bundle, self._engine.kind, out=self._out, papers=papers, ingested=ingested)

    def label(self, planned: PlannedNight) -> LabelledNight:
        """Label the shards that are not done yet."""
        config = self._config
        limits = LabelLimits(reuse=config.reuse, max_fresh=config.max_fresh, max_failed_shards=config.max_failed_shards)
        return label_night(
            planned,
            self._bundle,
            Scheduler(self._engine),
            limits,
            audit_share=config.audit_share,
            date=config.date,
            console=self._console,
        )

    def report(self, planned: PlannedNight, labelled: LabelledNight, previous: PreviousNight | None) -> NightResult:
        """Account for every row, check the gates, and write the report and the manifest."""
        from specter_jobs.night.reporting import report_night  # not at the top, where papers would wait for it

        return report_night(self._config, self._bundle, planned, labelled, previous, started=self._started)

    def finish(self, planned: PlannedNight, result: NightResult) -> NightResult:
        """Write `_SUCCESS` if nothing failed. A complete replacement then replaces the older night."""
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
    """Return the settings without OUT among the nights to reuse, because a rerun keeps its own labels anyway."""
    others = tuple(night for night in config.reuse if night.resolve() != config.out.resolve())
    if len(others) == len(config.reuse):
        return config
    log("own output not reused", level=logging.WARNING, reuse=str(config.out))
    return config.model_copy(update={"reuse": others})


def _check_no_audit(limits: GateLimits) -> None:
    """Check that no gate needs the audit, which is turned off.

    Raises:
        UsageError: A gate needs it.
    """
    for name in AUDIT_GATES:
        if getattr(limits, name) is not None:
            raise UsageError(
                f"the gate {name} needs the audit, and --audit-share 0 turns it off; leave one of them out"
            )


def _write_metrics(file: Path, result: NightResult) -> None:
    try:
        write_metrics(file, result.report, result.manifest, exit_code=result.exit_code, now=time.time())
    except OSError as error:  # the night is complete, and its exit code is certain
        log("metrics not written", level=logging.WARNING, file=str(file), error=str(error))
