"""The name of every file and folder that the job's commands write into an output folder, and the entry of a file."""

from pydantic import BaseModel, ConfigDict

from specter_batch.storage.output_claim import LOCK_FILE, MARKER_FILE

# Commands that an output folder can belong to.
CLASSIFY, INGEST = "classify", "ingest"

# Files of every output. `_SUCCESS` is written last, and only when nothing failed.
SUCCESS_FILE = "_SUCCESS"
REJECTS = "rejects"

# Files of a night: a folder of label files, and records about them.
LABELS = "labels"
LEDGER_FILE = "ledger.jsonl"
# In a store, where nothing can be appended to a file: an object for each shard, until the night is complete.
LEDGER_FOLDER = "ledger"
PLAN_FILE = "plan.json"
PROGRESS_FILE = "progress.json"
REPORT_FILE = "report.json"
REPORT_MARKDOWN = "report.md"
REPORT_HTML = "report.html"
MANIFEST_FILE = "manifest.json"
# The output of the ingest of a night that labels a dump of another format.
INGESTED = "ingested"
# Temporary tables of a night. A random suffix follows.
SURVEY_SCRATCH = "_survey."
# The night that is to replace this one, and the journal of the moment when it does.
STAGING = "_replacement"
SWAP_FILE = "swap.json"

# The files and folders of a complete night.
NIGHT_NAMES = frozenset(
    {
        LABELS,
        REJECTS,
        LEDGER_FOLDER,
        LEDGER_FILE,
        PLAN_FILE,
        PROGRESS_FILE,
        REPORT_FILE,
        REPORT_MARKDOWN,
        REPORT_HTML,
        MANIFEST_FILE,
        INGESTED,
    }
)
# Files that stay in the folder of a replacement when its night moves to the folder above.
NOT_MOVED = frozenset({LOCK_FILE, MARKER_FILE, SWAP_FILE, SUCCESS_FILE})

# Files of an ingest: papers, an index of the versions of papers, and records about them.
PAPERS = "papers"
INDEX = "_index"
INGEST_LEDGER_FILE = "ingest.jsonl"
ACCOUNT_FILE = "ingest.json"
REQUEST_FILE = "request.json"
# The papers of a dump without any. The names of other files have a hash in them.
NO_PAPERS_FILE = "none-00000.parquet"
# Temporary tables of an ingest. A random suffix follows.
INGEST_SCRATCH = "_scratch."


def parquet_name(stem: str, part: int | None = None) -> str:
    """Return the name of a parquet file; several files of one input are numbered."""
    return f"{stem}.parquet" if part is None else f"{stem}-{part:05d}.parquet"


def is_parquet(name: str) -> bool:
    """Return whether a name is the name of a parquet file."""
    return name.endswith(".parquet")


class OutputFile(BaseModel):
    """A finished file below the output folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    size: int
    sha256: str
