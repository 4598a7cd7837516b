"""The night: plan, survey, label what is not done yet, account for every row, report, and `_SUCCESS` last."""

import platform
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from specter_batch.bundle import ModelBundle
from specter_batch.errors import ConfigError, PaperSchemaError, ShardError
from specter_batch.files import write_json, write_text
from specter_batch.papers import find_parquet
from specter_batch.runtime import Device, OnnxClassifier
from specter_jobs.config import NightConfig
from specter_jobs.interrupts import sigterm_interrupts
from specter_jobs.ledger import LEDGER_FILE, Ledger, LedgerEntry, binding_of
from specter_jobs.lock import LOCK_FILE, locked
from specter_jobs.pipeline import LabelledShard, ShardPipeline
from specter_jobs.report import night_markdown, night_report
from specter_jobs.shards import Plan, plan_shards
from specter_jobs.survey import SurveyedShard, survey
from specter_jobs.writer import LABELS, REJECTS

SUCCESS_FILE = "_SUCCESS"
REPORT_FILE, REPORT_MARKDOWN, MANIFEST_FILE = "report.json", "report.md", "manifest.json"
# Raised when the same rows, bundle and settings give other output files than an earlier version did.
OUTPUT_VERSION = 1
EXIT_SHARDS_FAILED = 3


@dataclass(frozen=True, kw_only=True)
class NightResult:
    """How a night ended: the report, and 0 or `EXIT_SHARDS_FAILED`."""

    report: dict[str, Any]
    manifest: dict[str, Any]
    exit_code: int


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
    started = time.time()
    root, paths = find_parquet(config.dump)
    bundle = ModelBundle.open(config.bundle)
    device = Device.parse(config.device)
    plan = plan_shards(root, paths, columns=config.columns, shard_rows=config.shard_rows)
    if len(plan.failed) > config.max_failed_shards:
        first = plan.failed[0].error
        raise PaperSchemaError(f"{len(plan.failed)} of {len(paths)} files cannot be read as papers; the first: {first}")
    out = _claim(config.out)
    with locked(out), sigterm_interrupts():
        (out / SUCCESS_FILE).unlink(missing_ok=True)
        classifier = OnnxClassifier(bundle, device=device, precision=config.precision, workers=config.workers)
        try:
            ledger = Ledger(out, binding=_binding(config, bundle, classifier))
            with _progress(console) as progress:
                surveyed = _survey(plan, config, out, progress)
                pipeline = ShardPipeline(bundle, classifier, config)
                entries, failed, fresh = _label(pipeline, ledger, surveyed, config, progress)
        finally:
            classifier.close()
        failed = {file.name: file.error for file in plan.failed} | failed
        ordered = [entries[shard.name] for shard in plan.shards if shard.name in entries]
        ledger.remove_strangers(ordered)
        report = night_report(plan, ordered, failed, bundle)
        manifest = _manifest(config, bundle, classifier, report, started=started, fresh=fresh)
        write_json(out / REPORT_FILE, report)
        write_text(out / REPORT_MARKDOWN, night_markdown(report))
        write_json(out / MANIFEST_FILE, manifest)
        if not failed:
            write_text(out / SUCCESS_FILE, "")
    return NightResult(report=report, manifest=manifest, exit_code=EXIT_SHARDS_FAILED if failed else 0)


def _claim(out: Path) -> Path:
    if out.exists() and not (out / LOCK_FILE).exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty and is no output of this job; give another folder")
    for kind in (LABELS, REJECTS):
        (out / kind).mkdir(parents=True, exist_ok=True)
    return out


def _binding(config: NightConfig, bundle: ModelBundle, classifier: OnnxClassifier) -> str:
    return binding_of(
        {
            "output_version": OUTPUT_VERSION,
            "bundle": bundle.fingerprint,
            "device": classifier.device.kind,
            "graph": classifier.entry.sha256,
            "language": config.language,
            "missing_abstract": config.missing_abstract,
            "probabilities": config.probabilities,
        }
    )


def _survey(plan: Plan, config: NightConfig, out: Path, progress: Progress) -> list[SurveyedShard]:
    task = progress.add_task("survey", total=plan.rows)
    scratch = Path(tempfile.mkdtemp(prefix="_survey.", dir=out))
    try:
        return survey(plan.shards, config, scratch=scratch, advance=lambda rows: progress.update(task, advance=rows))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _label(
    pipeline: ShardPipeline,
    ledger: Ledger,
    surveyed: Sequence[SurveyedShard],
    config: NightConfig,
    progress: Progress,
) -> tuple[dict[str, LedgerEntry], dict[str, str], "Fresh"]:
    """Return the finished shards by name, the failed ones' errors, and what this run itself labelled."""
    entries: dict[str, LedgerEntry] = {}
    failed: dict[str, str] = {}
    pending: list[SurveyedShard] = []
    for shard in surveyed:
        done = ledger.finished(shard)
        if shard.error is not None:
            failed[shard.shard.name] = shard.error
        elif done is not None:
            entries[shard.shard.name] = done
        else:
            pending.append(shard)
    kept = sum(entry.rows for entry in entries.values())
    total = sum(shard.shard.rows for shard in surveyed)
    task = progress.add_task("label", total=total, completed=kept)
    began = time.monotonic()
    last = began
    papers = 0
    for shard, outcome in pipeline.run(pending):
        now = time.monotonic()
        if isinstance(outcome, ShardError):
            failed[shard.shard.name] = str(outcome)
        else:
            try:
                _check_accounting(shard, outcome)
                entries[shard.shard.name] = ledger.commit(shard, outcome, seconds=now - last)
                papers += outcome.labels.num_rows
            except (ShardError, OSError) as error:
                failed[shard.shard.name] = str(error)
        last = now
        progress.update(task, advance=shard.shard.rows)
        if len(failed) > config.max_failed_shards:
            progress.console.print(f"stopping: more than {config.max_failed_shards} shards failed", style="red")
            break
    seconds = time.monotonic() - began
    return entries, failed, Fresh(shards=len(pending), papers=papers, seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """What this run labelled itself, as against what it found done."""

    shards: int
    papers: int
    seconds: float


def _check_accounting(surveyed: SurveyedShard, labelled: LabelledShard) -> None:
    """Law 1: every row of the shard is labelled or rejected."""
    accounted = labelled.labels.num_rows + labelled.rejects.num_rows
    if accounted != surveyed.shard.rows:
        raise ShardError(
            f"{surveyed.shard.name}: {accounted} rows labelled or rejected of {surveyed.shard.rows}; "
            "the shard was dropped, please report this"
        )


def _manifest(
    config: NightConfig,
    bundle: ModelBundle,
    classifier: OnnxClassifier,
    report: dict[str, Any],
    *,
    started: float,
    fresh: Fresh,
) -> dict[str, Any]:
    finished = time.time()
    packages = ("specter-batch", "onnxruntime-gpu", "onnxruntime", "tokenizers", "pyarrow", "duckdb", "numpy")
    return {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "finished": datetime.fromtimestamp(finished, UTC).isoformat(timespec="seconds"),
        "seconds": round(finished - started, 3),
        "host": socket.gethostname(),
        "config": config.model_dump(mode="json"),
        "bundle": {"path": str(bundle.path), "fingerprint": bundle.fingerprint, "encoder": bundle.manifest.encoder},
        "device": {"asked": config.device, "workers": classifier.workers, **classifier.describe()},
        "rows": report["rows"],
        "shards": report["shards"],
        "this_run": {
            "shards": fresh.shards,
            "papers": fresh.papers,
            "seconds": round(fresh.seconds, 3),
            "papers_per_second": round(fresh.papers / fresh.seconds, 2) if fresh.papers else None,
        },
        "ledger": LEDGER_FILE,
        "versions": {"python": platform.python_version()} | _versions(packages),
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:
            continue
    return found


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
