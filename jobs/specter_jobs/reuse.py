"""Labels of earlier nights that may stand for tonight's."""

import logging
from collections.abc import Sequence

from specter_batch.errors import ConfigError
from specter_batch.papers import open_parquet
from specter_batch.storage import Location, in_parallel, names_in
from specter_jobs.ledger import LEDGER_FILE, LedgerEntry, has_ledger, read_entries
from specter_jobs.logs import log
from specter_jobs.writer import is_intact


def reusable_labels(nights: Sequence[Location], *, model: str, probabilities: bool) -> list[Location]:
    """Return the label files that the same model wrote in earlier nights.

    A file counts only if the ledger of its night says that this model (bundle, device and graph) wrote it, and its
    SHA-256 is the one in the ledger. Files without probabilities are of no use to a night that writes them.

    A night that is not there only warns: tonight then costs what a first night costs.

    Raises:
        ConfigError: A folder is something else.
    """
    files: list[Location] = []
    for night in nights:
        if not night.exists():  # as after a night that did not run; the cost is time, never a label
            log("no earlier night to reuse labels of", level=logging.WARNING, reuse=str(night))
            continue
        if not has_ledger(names_in(night)):
            raise ConfigError(f"--reuse {night}: no output of this job, {LEDGER_FILE} is missing")
        newest = {entry.shard: entry for entry in read_entries(night)}
        lent = _intact(night, [entry for entry in newest.values() if entry.model == model])
        if probabilities:  # whether files hold them is part of the binding: one of each tells it of all
            firsts = {entry.binding: night / entry.labels.name for entry in reversed(lent)}
            hold = {binding: "probabilities" in _columns(path) for binding, path in firsts.items()}
            lent = [entry for entry in lent if hold[entry.binding]]
        files += [night / entry.labels.name for entry in lent]
    return files


def _intact(night: Location, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Return the entries whose label file is the one that was written; the others are named in a warning."""
    good = list(in_parallel(lambda entry: is_intact(night, entry.labels), entries))
    damaged = [entry.labels.name for entry, intact in zip(entries, good, strict=True) if not intact]
    if damaged:
        log(
            "label files of an earlier night are missing or damaged and are not reused",
            level=logging.WARNING,
            reuse=str(night),
            files=len(damaged),
            first=damaged[0],
        )
    return [entry for entry, intact in zip(entries, good, strict=True) if intact]


def _columns(path: Location) -> list[str]:
    with open_parquet(path) as parquet:
        return list(parquet.schema_arrow.names)
