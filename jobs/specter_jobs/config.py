"""What a night is asked to do, from TOML and flags."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from specter_batch.bundle import Precision
from specter_batch.papers import PaperColumns
from specter_batch.settings import Settings


class NightConfig(Settings):
    """Settings of a nightly run.

    Attributes:
        dump: Parquet file, folder or glob of papers.
        out: Folder for labels, rejects, reports and the ledger.
        bundle: Model bundle.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: Run this graph instead of the device's own choice.
        workers: Papers labelled at once on a CPU; the usable cores when None.
        shard_rows: Rows of a shard. A kill costs at most the shard it hits; a smaller shard costs more files.
        language: `en` rejects papers that are not English; `any` takes all and asks nobody.
        missing_abstract: `reject` the paper, or label it by `title_only`.
        probabilities: Write the probabilities of all labels too.
        max_failed_shards: Stop when more shards than this have failed.
    """

    dump: str
    out: Path
    bundle: Path
    device: str = "auto"
    precision: Precision | None = None
    workers: int | None = Field(default=None, ge=1)
    shard_rows: int = Field(default=5000, ge=1)
    language: Literal["en", "any"] = "en"
    missing_abstract: Literal["reject", "title_only"] = "reject"
    probabilities: bool = False
    max_failed_shards: int = Field(default=100, ge=0)
    paper_id_column: str | None = None
    title_column: str | None = None
    abstract_column: str | None = None
    label_column: str | None = None

    @property
    def columns(self) -> PaperColumns:
        """The input's column names."""
        return PaperColumns(
            paper_id=self.paper_id_column,
            title=self.title_column,
            abstract=self.abstract_column,
            label=self.label_column,
        )
