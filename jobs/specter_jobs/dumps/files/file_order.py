"""The order in which the files of a dump replace and delete each other's papers, and warnings about that order."""

from collections.abc import Sequence
from pathlib import Path

from specter_jobs.dumps.account import IngestEntry
from specter_jobs.dumps.records import DumpReader

# Number of file names in a warning. The account lists all files.
SHOWN_NAMES = 3

NamedFile = tuple[str, Path]


def in_order(files: Sequence[NamedFile], reader: DumpReader) -> tuple[list[NamedFile], list[str]]:
    """Return the files from the oldest to the newest, and the names of the files that have no number.

    A format without numbered files keeps the order of the names. Files without a number come last.
    """
    number_of = getattr(reader, "file_order", None)
    if number_of is None:
        return list(files), []
    numbers = {name: number_of(name) for name, _ in files}
    numbered = sorted((file for file in files if numbers[file[0]] is not None), key=lambda file: numbers[file[0]])
    others = [file for file in files if numbers[file[0]] is None]
    return [*numbered, *others], [name for name, _ in others]


def warnings_of(unnumbered: Sequence[str], entries: Sequence[IngestEntry]) -> list[str]:
    """Return warnings about files that the user should check.

    Args:
        unnumbered: Names of the files without a number, from `in_order`.
        entries: Ledger entries of the finished files.
    """
    warnings = []
    if unnumbered and len(entries) > 1:
        warnings.append(
            f"no number in the name of {_names(unnumbered)}: papers and deletions there count as newer than those of "
            "numbered files; give such a file a name like pubmed26n1400.xml.gz to place it elsewhere"
        )
    if empty := [entry.unit for entry in entries if not entry.records and entry.text_bytes]:
        warnings.append(f"no record in {_names(empty)}: fetch a file again if it should hold papers")
    return warnings


def _names(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
