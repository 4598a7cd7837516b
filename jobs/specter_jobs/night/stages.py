"""The results that the stages of a night pass on: its papers, its plan, its labels, and its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from specter_batch.model.manifest import GraphEntry
from specter_batch.papers.columns import PaperColumns
from specter_batch.storage.location import Location
from specter_batch.storage.url_path import UrlPath
from specter_jobs.dumps.account_model import IngestAccount
from specter_jobs.label.engines.scheduler import Scheduler
from specter_jobs.label.fresh import Fresh
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.label_form import LabelForm
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.plan_file import DumpAccount
from specter_jobs.output.progress import NightWatch
from specter_jobs.output.report_model.manifest import NightManifest
from specter_jobs.output.report_model.parts import LabelsNotRead
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.plan.identity import ModelIdentity
from specter_jobs.plan.shards import Plan
from specter_jobs.plan.workload import Workload


@dataclass(frozen=True, kw_only=True)
class NightInput:
    """The place of the night's papers.

    Attributes:
        dump: Parquet file, folder or glob: a path or a URL.
        columns: Column names of the papers.
        failed: Files of the dump that could not be read -> error.
        ignored: Other entries of the dump -> reason why they are not read.
        unusable_labels: Number of papers of the dump that were kept without their label, because it cannot be used.
        ingested: Output folder of the ingest and its account; None if the dump was parquet.
    """

    dump: str | UrlPath
    columns: PaperColumns
    failed: Mapping[str, str]
    ignored: Mapping[str, str]
    unusable_labels: int = 0
    ingested: tuple[Path, IngestAccount] | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedInput:
    """The planned input of a night.

    Attributes:
        source: Place of the papers.
        root: Folder that the files are named relative to, when the night is complete.
        plan: The files and shards.
        gone: Files of a dump that no longer exist, and whose papers have labels in the folder.
        labelled_files: Files of a dump whose papers have labels in the folder, when the night is complete.
    """

    source: NightInput
    root: Location
    plan: Plan
    gone: frozenset[str] = frozenset()
    labelled_files: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class PlannedNight:
    """A night that is ready to label.

    Attributes:
        out: The folder to label in: OUT, or the folder of a replacement.
        plan: The files and shards.
        model: The model that labels.
        graph: The graph of the bundle that labels.
        binding: Hash of everything that can change a label, except for the rows themselves.
        bindings: The bindings that say the same (`NightIdentity.bindings`).
        form: Columns of the label files.
        unreadable: Input files that cannot be read -> error.
        ignored: Other entries of the input -> reason why they are not read.
        dump: Account of the dump that was ingested first; None for parquet.
        labels_not_read: Problem of true labels that are not read; None without a problem.
        watch: Object that reports the progress of the night.
    """

    out: OutputFolder
    plan: Plan
    model: ModelIdentity
    graph: GraphEntry
    binding: str
    bindings: frozenset[str]
    form: LabelForm
    unreadable: Mapping[str, str]
    ignored: Mapping[str, str]
    dump: DumpAccount | None
    labels_not_read: LabelsNotRead | None
    watch: NightWatch


@dataclass(frozen=True, kw_only=True)
class LabelledNight:
    """A night whose shards are labelled or have failed.

    Attributes:
        entries: Ledger entries of the finished shards, in the plan's order.
        failed: Shards and files that failed -> error.
        workload: Number of papers by source of their label.
        fresh: Shards and papers that this run labelled.
        workers: Scheduler with the workers and their devices.
    """

    entries: Sequence[LedgerEntry]
    failed: dict[str, str]
    workload: Workload
    fresh: Fresh
    workers: Scheduler


@dataclass(frozen=True, kw_only=True)
class NightResult:
    """The result of a night: the report, the manifest, and its exit code.

    Attributes:
        out: Folder that the labels are in: OUT, or the folder of a replacement that did not succeed.
    """

    report: NightReport
    manifest: NightManifest
    exit_code: int
    out: Location

    def as_json(self) -> dict[str, JsonValue]:
        """Return the output of `--json`: the report with the manifest in it."""
        return self.report.model_dump(mode="json") | {"manifest": self.manifest.model_dump(mode="json")}
