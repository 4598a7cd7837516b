"""What one stage of a night hands on to the next: its papers, its plan, and its labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from specter_batch.papers.columns import PaperColumns
from specter_batch.storage.location import Location
from specter_batch.storage.url_path import UrlPath
from specter_jobs.dumps.account_model import IngestAccount
from specter_jobs.label.engines.scheduler import Scheduler
from specter_jobs.label.fresh import Fresh
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.plan_file import DumpAccount
from specter_jobs.output.progress import NightWatch
from specter_jobs.output.report_model.parts import LabelsNotRead
from specter_jobs.plan.identity import ModelIdentity
from specter_jobs.plan.shards import Plan
from specter_jobs.plan.workload import Workload


@dataclass(frozen=True, kw_only=True)
class NightInput:
    """Where the night's papers are.

    Attributes:
        dump: Parquet file, folder or glob, local or a URL.
        columns: Its column names.
        failed: Files of the dump that could not be read -> error.
        ignored: What else is in the dump and is not read -> why.
        unusable_labels: Papers of the dump that were kept without their label, because it is no label.
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
    """The input of a night, planned.

    Attributes:
        source: Where the papers are.
        root: Folder that the files are named relative to, when the night is complete.
        plan: The files and shards.
        gone: Files of a dump whose papers have labels in the folder, and that are not there any more.
        labelled_files: Files of a dump whose papers have labels in the folder, when the night is complete.
    """

    source: NightInput
    root: Location
    plan: Plan
    gone: frozenset[str] = frozenset()
    labelled_files: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class PlannedNight:
    """A night that can begin to label.

    Attributes:
        out: The folder to label in: OUT, or the folder of a replacement.
        plan: The files and shards.
        model: The model that labels.
        binding: Hash of all that can change an output but the rows themselves.
        unreadable: Input files that cannot be read -> error.
        ignored: What else is in the input and is not read -> why.
        dump: Account of the dump that was ingested first; None for parquet.
        labels_not_read: Why true labels are not read; None if they are, or if there are none.
        watch: Reports on the night while it runs.
    """

    out: OutputFolder
    plan: Plan
    model: ModelIdentity
    binding: str
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
        workload: Where the labels come from.
        fresh: What this run labelled itself.
        workers: Knows the workers and what they ran on.
    """

    entries: Sequence[LedgerEntry]
    failed: dict[str, str]
    workload: Workload
    fresh: Fresh
    workers: Scheduler
