"""The names of the formats, as the command line takes them."""

from typing import Literal

FormatName = Literal["s2ag", "s2orc", "openalex", "arxiv", "pubmed", "crossref", "scidocs", "jsonl", "csv"]
