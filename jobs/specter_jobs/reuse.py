"""Labels of earlier nights that may stand for tonight's."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from specter_batch.errors import ConfigError
from specter_jobs.ledger import LEDGER_FILE, read_entries


def reusable_labels(nights: Sequence[Path], *, model: str, probabilities: bool) -> list[Path]:
    """Return the label files that the same model wrote in earlier nights.

    A file counts only if the ledger of its night says that this model (bundle, device and graph) wrote it, and it is
    as long as the ledger says. Files without probabilities are of no use to a night that writes them.

    Raises:
        ConfigError: A folder is no output of a night.
    """
    files: list[Path] = []
    for night in nights:
        if not (night / LEDGER_FILE).is_file():
            raise ConfigError(f"--reuse {night}: no output of this job, {LEDGER_FILE} is missing")
        for entry in {entry.shard: entry for entry in read_entries(night / LEDGER_FILE)}.values():
            path = night / entry.labels.name
            if entry.model == model and path.is_file() and path.stat().st_size == entry.labels.size:
                files.append(path)
    if probabilities:
        files = [path for path in files if "probabilities" in pq.read_schema(path).names]
    return files
