"""Find labels of earlier nights that can be reused, and reasons why others cannot."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from specter_batch.errors import ConfigError, PaperSchemaError, StorageError
from specter_batch.logs import log
from specter_batch.papers.parquet import open_parquet
from specter_batch.storage.location import Location, in_parallel, local_copy, sizes_in
from specter_batch.storage.output_claim import output_command
from specter_jobs.output.folder import OutputFolder, output_folder
from specter_jobs.output.ledger import has_ledger, read_entries
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import CLASSIFY, LABELS, LEDGER_FILE, parquet_name
from specter_jobs.output.plan_file import night_in
from specter_jobs.output.schema import EMBEDDING, LOGITS, PROBABILITIES
from specter_jobs.plan.identity import SHOWN_FINGERPRINT, ModelIdentity
from specter_jobs.plan.reuse_report import UnusableLabels


@dataclass(frozen=True, kw_only=True)
class ReusableLabels:
    """Labels of earlier nights.

    Attributes:
        files: Label files that the model of this night wrote.
        unusable: The other labels, with the reasons why they cannot be reused.
    """

    files: Sequence[Location]
    unusable: Sequence[UnusableLabels]


def reusable_labels(
    nights: Sequence[Location], *, tonight: ModelIdentity, needs_probabilities: bool, needs_embeddings: bool = False
) -> ReusableLabels:
    """Find the label files that the same model wrote in earlier nights.

    A file counts only if this model (bundle, device and graph) wrote it according to the ledger of its night, and if
    its SHA-256 is the one in the ledger. Files without logits and probabilities cannot be used by a night whose columns
    need them. If an earlier night is missing, only a warning is logged, and its papers are labelled again.

    Args:
        nights: Output folders of the earlier nights.
        tonight: The model of the night that reuses the labels.
        needs_probabilities: True if the columns of the night need probabilities, or logits to compute them from.
        needs_embeddings: True if the columns of the night need the vectors of the papers.

    Raises:
        ConfigError: A folder is not the output of a night.
    """
    files: list[Location] = []
    unusable: list[UnusableLabels] = []
    for night in nights:
        if not night.exists():
            log("no earlier night to reuse labels of", level=logging.WARNING, reuse=str(night))
            unusable.append(UnusableLabels(night=str(night), labels=0, reason="there is no such night"))
            continue
        folder = output_folder(night)
        names = folder.names()
        if not has_ledger(names):
            if output_command(night, names=names) == CLASSIFY:
                log("earlier night has no labels", level=logging.WARNING, reuse=str(night))
                continue
            raise ConfigError(
                f"--reuse {night}: is not an output of `classify`, {LEDGER_FILE} is missing; give the OUT folder of an "
                "earlier night"
            )
        newest = {entry.shard: entry for entry in read_entries(folder)}
        ours = [entry for entry in newest.values() if entry.model == tonight.hash]
        others = [entry for entry in newest.values() if entry.model != tonight.hash]
        intact = _intact(folder, ours)
        scored = _with_columns(folder, intact, {LOGITS, PROBABILITIES}) if needs_probabilities else intact
        lent = _with_columns(folder, scored, {EMBEDDING}) if needs_embeddings else scored
        files += [night / entry.labels.name for entry in lent]
        lost: Counter[str] = Counter()
        for reason, entries in (
            (_why_another_model(folder, tonight) if others else "", others),
            ("their files are missing or damaged", [entry for entry in ours if entry not in intact]),
            (
                "they were written without logits, which --probabilities and --top-k need",
                [one for one in intact if one not in scored],
            ),
            ("they were written without vectors, which --embeddings needs", [one for one in scored if one not in lent]),
        ):
            lost[reason] += sum(entry.labels.rows for entry in entries)
        lost[f"{LEDGER_FILE} does not list their files; run that night again"] = _unlisted_rows(folder, newest.values())
        unusable += [
            UnusableLabels(night=str(night), labels=rows, reason=reason) for reason, rows in lost.items() if rows
        ]
    return ReusableLabels(files=files, unusable=unusable)


def _why_another_model(night: OutputFolder, tonight: ModelIdentity) -> str:
    """Describe how the model that labelled an earlier night differs from the model of this night."""
    earlier = night_in(night)
    if earlier is None:
        return "another bundle, device or version of specter-batch made them"
    if earlier.fingerprint != tonight.fingerprint:
        then, now = (one.fingerprint[:SHOWN_FINGERPRINT] for one in (earlier, tonight))
        return f"another bundle made them ({earlier.bundle}, {then}; tonight's is {tonight.bundle}, {now})"
    if earlier.device != tonight.device:
        return f"they were made on {earlier.device}, and tonight runs on {tonight.device}"
    if earlier.graph != tonight.graph:
        return "another graph of the bundle made them (--graph)"
    return "another version of specter-batch made them"


def _with_columns(night: OutputFolder, entries: Sequence[LedgerEntry], columns: Collection[str]) -> list[LedgerEntry]:
    """Return the entries whose label file holds one of the columns: one file of each form shows it for all."""
    firsts = {(entry.binding, entry.form): night / entry.labels.name for entry in reversed(entries)}
    hold = {form: not set(columns).isdisjoint(_columns(path)) for form, path in firsts.items()}
    return [entry for entry in entries if hold[entry.binding, entry.form]]


def _intact(night: OutputFolder, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Return the entries whose label file is unchanged. A warning names the others."""
    good = list(in_parallel(lambda entry: night.is_intact(entry.labels), entries))
    damaged = [entry.labels.name for entry, intact in zip(entries, good, strict=True) if not intact]
    if damaged:
        log(
            "damaged labels not reused",
            level=logging.WARNING,
            reuse=str(night),
            files=len(damaged),
            first=damaged[0],
        )
    return [entry for entry, intact in zip(entries, good, strict=True) if intact]


def _unlisted_rows(night: OutputFolder, entries: Iterable[LedgerEntry]) -> int:
    """Return the number of labels in files that no entry of the ledger names.

    There are such files if the night did not come to its end, or if lines of its ledger are lost.
    """
    listed = {entry.labels.name for entry in entries}
    names = [f"{LABELS}/{name}" for name in sizes_in(night / LABELS) if name.endswith(".parquet")]
    return sum(_rows(night / name) for name in names if name not in listed)


def _rows(path: Location) -> int:
    try:
        with open_parquet(path) as parquet:
            return int(parquet.metadata.num_rows)
    except (PaperSchemaError, StorageError):
        return 0  # nobody could use it


def _columns(path: Location) -> list[str]:
    with open_parquet(path) as parquet:
        return list(parquet.schema_arrow.names)


def local_copies(files: Sequence[Location], scratch: Path) -> list[Path]:
    """Return label files as local files. Files in a store are downloaded, because duckdb reads them more than once."""
    folder = scratch / "earlier"
    folder.mkdir(exist_ok=True)

    def local(numbered: tuple[int, Location]) -> Path:
        number, file = numbered
        return local_copy(file, folder / parquet_name(f"{number:08d}"))

    return list(in_parallel(local, enumerate(files)))
