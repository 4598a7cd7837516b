"""Labels in the names of folders, as Spark's `partitionBy("label")` writes them for JSON and CSV too."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from specter_jobs.dumps.formats import Format
from specter_jobs.dumps.json.values import optional_label
from specter_jobs.dumps.record_sorter import Record
from specter_jobs.dumps.records import PaperRecord


def folder_label(format_: Format, partitions: Mapping[str, str | None]) -> str | None:
    """Return the label that the folders of a file give its papers; only tables have columns that may be there."""
    if format_.name not in ("jsonl", "csv"):
        return None
    names = format_.columns.candidates()["label"]
    return optional_label(next((partitions[name] for name in names if name in partitions), None))[0]


def without_folder_label(format_: Format, partitions: Mapping[str, str | None]) -> Format:
    """Return the format for reading such a file: a label column that the user named is not looked for in it."""
    papers = format_.columns.papers
    if papers.label not in partitions:
        return format_
    return replace(format_, columns=replace(format_.columns, papers=replace(papers, label=None)))


def with_label(records: Iterable[Record], label: str | None) -> Iterator[Record]:
    """Yield records; a paper without a label of its own gets this one."""
    for record in records:
        if label is not None and isinstance(record, PaperRecord) and record.label is None:
            yield replace(record, label=label)
        else:
            yield record
