"""The dump formats by name, with a module of this package for the reader of each.

A reader's module is imported when the reader is made. Two modules remove mark-up from texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import cast

from specter_batch.errors import ConfigError, UsageError
from specter_batch.options import FormatName
from specter_batch.papers.columns import NO_LABELS
from specter_jobs.dumps.json_values import optional_label
from specter_jobs.dumps.records import DumpReader, JoiningReader, TableColumns, TableLayout

_READERS: dict[FormatName, str] = {
    "s2ag": "s2ag:S2agReader",
    "s2orc": "s2orc:S2orcReader",
    "openalex": "openalex:OpenalexReader",
    "arxiv": "arxiv:ArxivReader",
    "pubmed": "pubmed:PubmedReader",
    "crossref": "crossref:CrossrefReader",
    "scidocs": "scidocs:ScidocsReader",
    "jsonl": "jsonl:JsonlReader",
    "csv": "csv:CsvReader",
}


@dataclass(frozen=True, kw_only=True)
class Format:
    """A dump format with the user's options; every worker process makes its own reader from it.

    Attributes:
        name: Name of the format, one of `FormatName`.
        columns: Column names, for `jsonl` and `csv` only; other formats have fixed field names.
        layout: Layout of the text, for `csv`; `jsonl` uses only its encoding.
    """

    name: FormatName
    columns: TableColumns = field(default_factory=TableColumns)
    layout: TableLayout = field(default_factory=TableLayout)

    @property
    def joined(self) -> bool:
        """Whether a paper is joined from several files, so that all files are read as one unit."""
        return isinstance(self.reader(), JoiningReader)

    def reader(self) -> DumpReader:
        """Return a new reader of the format."""
        module, _, kind = _READERS[self.name].partition(":")
        reader = getattr(import_module(f"specter_jobs.dumps.readers.{module}"), kind)
        if self.name == "csv":
            return cast(DumpReader, reader(self.columns, self.layout))
        return cast(DumpReader, reader(self.columns) if self.name == "jsonl" else reader())

    def label(self, wanted: str | None) -> str | None:
        """Return the field that becomes the label: the given one, or the format's default if it has one.

        Raises:
            ConfigError: The format has no such label, or does not support the option.
        """
        reader = self.reader()
        self._check_layout()
        papers = self.columns.papers
        without_labels = papers.candidates("label") == ()
        others = replace(self.columns, papers=replace(papers, label=None)) if without_labels else self.columns
        if others != TableColumns() and self.name not in ("jsonl", "csv"):
            raise ConfigError(f"--*-column options are for jsonl and csv; {self.name} has its own field names")
        if wanted == NO_LABELS or (wanted is None and without_labels):
            return None
        if wanted is None:
            return getattr(reader, "default_label", None)
        if wanted not in reader.label_choices:
            choices = ", ".join((*reader.label_choices, NO_LABELS))
            hint = "; name the column with --label-column" if self.name in ("jsonl", "csv") else ""
            raise ConfigError(f"--label {wanted}: {self.name} has {choices}{hint}")
        return wanted

    def folder_label(self, partitions: Mapping[str, str | None]) -> str | None:
        """Return the label in the folder names of a file, as Spark's `partitionBy("label")` writes them.

        Only tables can have a column in folder names.
        """
        if self.name not in ("jsonl", "csv"):
            return None
        names = self.columns.candidates()["label"]
        return optional_label(next((partitions[name] for name in names if name in partitions), None))[0]

    def without_folder_label(self, partitions: Mapping[str, str | None]) -> "Format":
        """Return the format for a file with its label in a folder name: no label column is looked for in the file."""
        papers = self.columns.papers
        if papers.label not in partitions:
            return self
        return replace(self, columns=replace(self.columns, papers=replace(papers, label=None)))

    def _check_layout(self) -> None:
        if self.name != "csv" and self.layout != TableLayout(encoding=self.layout.encoding):
            raise UsageError(f"--delimiter, --quote and --escape are for csv, not for {self.name}")
        if self.name not in ("jsonl", "csv") and self.layout.encoding is not None:
            raise UsageError(f"--encoding is for jsonl and csv; {self.name} has a fixed encoding")
