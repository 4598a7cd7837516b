"""What an ingest made of the records of a dump that a night labels."""

from pydantic import BaseModel, ConfigDict

from specter_batch.errors import ShardError
from specter_jobs.output.ledger_entry import OutputFile


class DumpAccount(BaseModel):
    """What an ingest made of the records of a dump; a part of `plan.json`.

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
            ShardError: It is not.
        """
        accounted = paper_rows + self.rejected + self.filtered + self.tombstones
        listed = sum(file.rows for file in self.rejects)
        if accounted != self.records or listed != self.rejected:
            raise ShardError(
                f"{accounted} of {self.records} records of the dump are accounted for, and {listed} of {self.rejected} "
                "rejects are listed; please report this"
            )
