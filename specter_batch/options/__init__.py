"""Options of the command line, made from the fields of settings classes: each is declared once, where its field is."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option

if TYPE_CHECKING:
    from specter_batch.papers.columns import PaperColumns

# An upper limit, more than any cluster has. Without it a typing error would fill the memory before anything starts.
MAX_WORKERS = 10_000

# The names of the formats of public dumps.
FormatName = Literal["s2ag", "s2orc", "openalex", "arxiv", "pubmed", "crossref", "scidocs", "jsonl", "csv"]

PaperIdColumn = Annotated[str | None, Option(metavar="NAME", default="paper_id, pid, id or corpusid")]
TitleColumn = Annotated[str | None, Option(metavar="NAME", default="title")]
AbstractColumn = Annotated[str | None, Option(metavar="NAME", default="abstract")]
LabelColumnName = Annotated[str | None, Option(metavar="NAME", default="label, class_label or labels")]
Language = Annotated[
    Literal["en", "any"],
    Field(
        description="Language of the papers. `en` rejects papers that are not English; `any` turns the detection off."
    ),
]


class TextColumns(Settings):
    """The columns of the input that the predicted label depends on."""

    panel: ClassVar[str] = "Input"

    paper_id_column: PaperIdColumn = Field(default=None, description="Column of the input that holds the paper ids.")
    title_column: TitleColumn = Field(default=None, description="Column of the input that holds the titles.")
    abstract_column: AbstractColumn = Field(default=None, description="Column of the input that holds the abstracts.")


class LabelColumn(Settings):
    """The column of true labels. It never changes a label that the model predicts."""

    panel: ClassVar[str] = "Input"

    label_column: LabelColumnName = Field(
        default=None,
        description="Column of the input that holds the true labels. `none` reads no labels, "
        "where a command does not need them.",
    )


class InputColumns(LabelColumn, TextColumns):
    """The names of all columns of the input."""

    @property
    def columns(self) -> "PaperColumns":
        """The input's column names."""
        from specter_batch.papers.columns import PaperColumns

        return PaperColumns(
            paper_id=self.paper_id_column,
            title=self.title_column,
            abstract=self.abstract_column,
            label=self.label_column,
        )


class TextFiles(Settings):
    """The format of text files (CSV, JSON Lines) that papers are read from."""

    panel: ClassVar[str] = "Input"

    delimiter: Annotated[str | None, Option(metavar="CHARACTER", default="found from the header")] = Field(
        default=None, description="CSV: the character between values, or `tab`."
    )
    quote: Annotated[str | None, Option(metavar="CHARACTER", default='"')] = Field(
        default=None,
        description="CSV: the character around values, or `none` if quotes are plain text. Without this option a file "
        "fails if its quotes may hide rows.",
    )
    escape: Annotated[str | None, Option(metavar="CHARACTER", default="a backslash, if the file uses it like this")] = (
        Field(default=None, description="CSV: the character that makes a quote after it plain text, or `none`.")
    )
    encoding: Annotated[str | None, Option(metavar="NAME", default="UTF-8, or UTF-16 where it is recognised")] = Field(
        default=None, description="CSV and JSON Lines: the encoding of the file, for example cp1252."
    )


class JsonOutput(Settings):
    """The format in which the result is printed."""

    panel: ClassVar[str] = "Output"

    as_json: Annotated[bool, Option(name="--json", negative=False)] = Field(
        default=False, description="Print the result as one line of JSON instead of text."
    )
