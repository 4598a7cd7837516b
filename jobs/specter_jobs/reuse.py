"""Labels of earlier nights that may stand for tonight's."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from specter_batch.errors import ConfigError
from specter_jobs.ledger import LEDGER_FILE, read_entries
from specter_jobs.logs import log


def reusable_labels(nights: Sequence[Path], *, model: str, probabilities: bool) -> list[Path]:
    """Return the label files that the same model wrote in earlier nights.

    A file counts only if the ledger of its night says that this model (bundle, device and graph) wrote it, and it is
    as long as the ledger says. Files without probabilities are of no use to a night that writes them.

    A night that is not there only warns: tonight then costs what a first night costs.

    Raises:
        ConfigError: A folder is something else.
    """
    files: list[Path] = []
    for night in nights:
        if not night.exists():  # as after a night that did not run; the cost is time, never a label
            log("no earlier night to reuse labels of", level=logging.WARNING, reuse=str(night))
            continue
        if not (night / LEDGER_FILE).is_file():
            raise ConfigError(f"--reuse {night}: no output of this job, {LEDGER_FILE} is missing")
        for entry in {entry.shard: entry for entry in read_entries(night / LEDGER_FILE)}.values():
            path = night / entry.labels.name
            if entry.model == model and path.is_file() and path.stat().st_size == entry.labels.size:
                files.append(path)
    if probabilities:
        files = [path for path in files if "probabilities" in pq.read_schema(path).names]
    return files
