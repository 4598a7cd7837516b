"""`plan.json`: the input files and shards of a night, written before it labels, for `status` and `verify`."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from specter_batch.display import original_name, stored_name
from specter_batch.errors import ConfigError, ShardError
from specter_batch.file_problems import read_json_model
from specter_batch.storage.files import write_text
from specter_batch.storage.location import Location, absolute, located, name_meant
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.names import PLAN_FILE, OutputFile
from specter_jobs.plan.identity import NightIdentity
from specter_jobs.plan.shards import Plan


class DumpAccount(BaseModel):
    """Number of records of a dump by outcome of the ingest. It is a part of `plan.json`.

    Attributes:
        files: Number of the dump's files, those that failed included.
        records: Number of records in the files that were read.
        papers: Number of records that became papers, which are the rows of the night's shards.
        filtered: Number of records that the user did not ask for.
        tombstones: Number of records that withdraw others and are no papers.
        rejects_by_reason: Number of rejected records by reason.
        rejects: Reject files of the night that list these records.
        labelled_files: Files of the dump whose papers have labels in the folder; None in folders of older versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: int
    records: int
    papers: int
    filtered: int
    tombstones: int
    rejects_by_reason: dict[str, int]
    rejects: tuple[OutputFile, ...] = ()
    labelled_files: tuple[str, ...] | None = None

    @property
    def rejected(self) -> int:
        """Number of rejected records."""
        return sum(self.rejects_by_reason.values())

    def check(self, *, paper_rows: int) -> None:
        """Check that every record of the dump is accounted for.

        Args:
            paper_rows: Rows of the night's shards.

        Raises:
            ShardError: The sum is not the number of records.
        """
        accounted = paper_rows + self.rejected + self.filtered + self.tombstones
        listed = sum(file.rows for file in self.rejects)
        if accounted != self.records or listed != self.rejected:
            raise ShardError(
                f"{accounted} of {self.records} records of the dump are accounted for, and {listed} of {self.rejected} "
                "rejects are listed; please report this"
            )


def listed_files(dump: DumpAccount | None) -> Sequence[OutputFile]:
    """Return the reject files in the account of a dump. Without an account there are no such files."""
    return () if dump is None else dump.rejects


class PlanFile(BaseModel):
    """`plan.json`.

    Attributes:
        root: Folder that the files are named relative to, as stored (`specter_batch.display`).
        binding: Binding of the ledger entries that count.
        files: Readable input files and their rows by the footer.
        unreadable: Entries that may hold papers and cannot be read -> reason.
        ignored: Other entries of the input -> reason why they are not read.
        shards: Name -> rows.
        dump: Account of the dump that was ingested (`--format`); None for parquet.
        night: Identity that a run must share to be a run of the same night; None in folders of older versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str
    binding: str
    rows: int
    files: dict[str, int]
    unreadable: dict[str, str]
    ignored: dict[str, str] = {}
    shards: dict[str, int]
    dump: DumpAccount | None = None
    night: NightIdentity | None = None

    def input_path(self, name: str) -> Location:
        """Return where an input file was."""
        return located(original_name(self.root)) / original_name(name)


def write_plan(
    out: OutputFolder,
    root: Location,
    plan: Plan,
    *,
    night: NightIdentity,
    unreadable: Mapping[str, str],
    ignored: Mapping[str, str],
    dump: DumpAccount | None,
) -> None:
    """Write `plan.json`."""
    content = PlanFile(
        root=stored_name(str(absolute(root))),
        binding=night.binding,
        rows=plan.rows,
        files={file.name: file.rows for file in plan.files},
        unreadable=dict(unreadable),
        ignored=dict(ignored),
        shards={shard.name: shard.rows for shard in plan.shards},
        dump=dump,
        night=night,
    )
    write_text(out / PLAN_FILE, content.model_dump_json(indent=1) + "\n")


def read_plan(out: OutputFolder) -> PlanFile:
    """Read `plan.json`.

    Raises:
        ConfigError: The folder is not an output of this job.
    """
    try:
        return read_json_model(
            out / PLAN_FILE, PlanFile, what="not the plan of a night", advice="; run the night again", error=ConfigError
        )
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"{out}: no night has begun to label here, there is no {PLAN_FILE}{name_meant(out.place)}; give the OUT "
            "folder of `specter-batch classify`"
        ) from None


def night_in(out: OutputFolder) -> NightIdentity | None:
    """Return the identity of the night in a folder; None if it is not recorded."""
    try:
        return read_plan(out).night
    except ConfigError:
        return None


def labelled_dump_files(out: OutputFolder) -> frozenset[str] | None:
    """Return the files of a dump whose papers have labels in a folder; None if its plan does not list them."""
    try:
        dump = read_plan(out).dump
    except ConfigError:
        return None
    return None if dump is None or dump.labelled_files is None else frozenset(dump.labelled_files)
