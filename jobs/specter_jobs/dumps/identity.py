"""Record which ingest an output folder holds, and protect its finished papers from a different ingest."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from specter_batch.display import stored_name
from specter_batch.errors import ConfigError
from specter_batch.storage.files import write_text
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.records import ReadOptions
from specter_jobs.output.names import ACCOUNT_FILE, REQUEST_FILE


class IngestIdentity(BaseModel):
    """What two runs on one output folder must share to be the same ingest.

    Attributes:
        input: File, folder or glob that is read, with symbolic links resolved.
        format: Name of the dump format.
        options: Values of the options that change a paper, by name; None if an option is not given.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may add fields

    input: str
    format: str
    options: dict[str, str | None]

    @classmethod
    def of(cls, source: str, format_: Format, options: ReadOptions) -> Self:
        """Return the identity of the ingest that a run is about to do."""
        papers, layout = format_.columns.papers, format_.layout
        return cls(
            input=_resolved(source),
            format=format_.name,
            options={
                "--label": options.label,
                "--year": _shown_years(options.years),
                "--paper-id-column": papers.paper_id,
                "--title-column": papers.title,
                "--abstract-column": papers.abstract,
                "--label-column": papers.label,
                "--year-column": format_.columns.year,
                "--delimiter": layout.delimiter,
                "--quote": layout.quote,
                "--escape": layout.escape,
                "--encoding": layout.encoding,
            },
        )

    def differences(self, held: "IngestIdentity") -> list[str]:
        """Describe how this ingest differs from the ingest in a folder; empty if it is the same."""
        differences = []
        if (self.input, self.format) != (held.input, held.format):
            differences.append(f"INPUT is {self} instead of {held}")
        for option, before in held.options.items():
            if (now := self.options.get(option)) != before:
                differences.append(f"{option} is {_shown(now)} instead of {_shown(before)}")
        return differences

    def __str__(self) -> str:
        return f"{self.input} ({self.format})"


class IngestRecord(BaseModel):
    """The content of `request.json`, written before anything is read, so that it exists even after a kill.

    Attributes:
        identity: Identity of the ingest that made the papers.
        units: Names of all units that a run began to read. Output files of other units are not the ingest's.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    identity: IngestIdentity
    units: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BegunIngest:
    """An ingest that may write to its folder.

    Attributes:
        out: Path of the output folder.
        record: Content of `request.json` once the papers of this ingest replace the earlier ones.
        held: Number of papers in the folder at the start, by unit.
    """

    out: Path
    record: IngestRecord
    held: Mapping[str, int]

    def take_over(self) -> None:
        """Record in the folder that it holds this ingest, before papers of another ingest are removed."""
        _write(self.out, self.record)

    def removed(self, there: Collection[str]) -> list[str]:
        """Return a warning if papers were removed because their file is no longer in the input.

        Args:
            there: Names of the units of the input, including the files that failed.
        """
        gone = sorted(name for name, papers in self.held.items() if papers and name not in there)
        if not gone:
            return []
        shown = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        papers = sum(self.held[name] for name in gone)
        return [f"{papers:,} papers were removed, because their files are not in INPUT: {shown}"]


def begin(
    out: Path,
    identity: IngestIdentity,
    *,
    held: Mapping[str, int],
    has_other_options: bool,
    units: Collection[str],
    replace: bool,
) -> BegunIngest:
    """Check that a run replaces no finished papers of another ingest by accident, and record what it reads.

    While another ingest is being replaced, `request.json` keeps the old identity until `take_over` is called. The
    caller holds the folder's lock.

    Args:
        out: Path of the output folder.
        identity: Identity of the ingest that the run is about to do.
        held: Number of papers in the folder by unit, whatever options they were made with.
        has_other_options: True if papers of a unit were made with other options, or by another version.
        units: Names of the units that the run reads.
        replace: True to allow the run to replace papers of another ingest.

    Raises:
        ConfigError: The folder holds finished papers of another ingest, and `replace` is not set.
    """
    record = _read(out)
    before = record.identity if record else _identity_of_older_version(out)
    papers = sum(held.values())
    differences: list[str] = []
    if papers and before is None:
        differences = [f"INPUT may be another one, because {REQUEST_FILE} is gone or damaged"]
    elif papers and before is not None:
        differences = identity.differences(before)
        if not differences and record is None and has_other_options:
            differences = ["they were made with other options, or by another version of specter-batch"]
    if differences and not replace:
        of = f" of {before}" if before else ""
        raise ConfigError(
            f"{out}: holds {papers:,} finished papers{of}, and nothing was changed. This run would replace them: "
            f"{'; '.join(differences)}. Give another OUT, or add --replace to replace them"
        )
    begun = tuple(sorted({*(record.units if record else ()), *held, *units}))
    now = IngestRecord(identity=identity, units=begun)
    _write(out, now.model_copy(update={"identity": before}) if differences and before else now)
    return BegunIngest(out=out, record=now, held=held)


def _read(out: Path) -> IngestRecord | None:
    try:
        return IngestRecord.model_validate_json((out / REQUEST_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(out: Path, record: IngestRecord) -> None:
    if _read(out) != record:
        write_text(out / REQUEST_FILE, record.model_dump_json(indent=1) + "\n")


def _identity_of_older_version(out: Path) -> IngestIdentity | None:
    """Return the identity from `ingest.json`, because older versions did not write `request.json`."""
    try:
        account = json.loads((out / ACCOUNT_FILE).read_bytes())
        years = tuple(account["years"]) if account["years"] else None
        options = {"--label": account["label"], "--year": _shown_years(years)}
        return IngestIdentity(input=_resolved(account["input"]), format=account["format"], options=options)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _resolved(source: str) -> str:
    return stored_name(str(Path(source).resolve()))


def _shown_years(years: tuple[int | None, ...] | None) -> str | None:
    if years is None:
        return None
    first, last = years
    return str(first) if first == last else f"{first or ''}:{last or ''}"


def _shown(value: str | None) -> str:
    return "not given" if value is None else value or "none"
