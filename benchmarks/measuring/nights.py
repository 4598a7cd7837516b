"""Run the real command, `specter-batch classify`, in its own process, and measure it."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from measuring.processes import Finished, run_measured
from specter_batch.errors import ShardError
from specter_batch.papers.columns import PAPER_SCHEMA
from specter_jobs.output.report_model.manifest import NightManifest


@dataclass(frozen=True, kw_only=True)
class Night:
    """A night that was run.

    Attributes:
        out: Its folder.
        process: Time and memory of the command.
        manifest: Its manifest.
    """

    out: Path
    process: Finished
    manifest: NightManifest

    @property
    def labelling_seconds(self) -> float:
        """Seconds of labelling, without the deduplication and the start."""
        return self.manifest.this_run.seconds

    def label_ids(self) -> dict[str, int]:
        """Return the labels by paper id."""
        table = pq.read_table(self.out / "labels", columns=["paper_id", "label_id"])
        return dict(zip(table["paper_id"].to_pylist(), table["label_id"].to_pylist(), strict=True))


def run_night(papers: pa.Table, out: Path, *, bundle: Path, device: str, options: tuple[str, ...] = ()) -> Night:
    """Write papers without their labels to `out`.parquet, and label them into a new folder `out`.

    The audit is turned off, because its 50 papers would be a large part of a short measurement.

    Raises:
        ShardError: The night failed, or did not label every paper.
    """
    dump = out.with_suffix(".parquet")
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    pq.write_table(papers.select([name for name in PAPER_SCHEMA.names if name != "label"]), dump)
    command = [sys.executable, "-m", "specter_batch", "classify", str(dump), str(out), "--bundle", str(bundle)]
    process = run_measured([*command, "--device", device, "--audit-share", "0", *options], device=device)
    if process.exit_code:
        raise ShardError(f"{out}: the night ended with {process.exit_code}: {process.last_line}")
    manifest = NightManifest.model_validate_json((out / "manifest.json").read_bytes())
    if manifest.rows.rejected:
        raise ShardError(f"{out}: {manifest.rows.rejected} papers were rejected; see {out / 'report.md'}")
    return Night(out=out, process=process, manifest=manifest)
