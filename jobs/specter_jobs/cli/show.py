"""The command that shows single papers of a night."""

from typing import Annotated, Any, get_args

import pyarrow as pa
from pydantic import Field

from specter_batch.errors import UsageError
from specter_batch.options.command import command
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import PathOrUrl
from specter_batch.terminal import show as show_lines
from specter_batch.terminal import show_json, show_notice
from specter_jobs.cli.row_output import PapersPlace, plain_rows, show_rows_as_csv, write_rows
from specter_jobs.cli.tables import table_lines
from specter_jobs.inspect.question import USUAL, Ask, Question

QUESTIONS = "Which papers (give one of these)"


class NightToShow(PapersPlace):
    """The night whose papers are shown."""

    out: Annotated[PathOrUrl, Option(argument="OUT")] = Field(description="Output of a night: its folder or URL.")


class Choice(Settings):
    """Which papers of the night are shown."""

    panel = QUESTIONS

    least_certain: Annotated[int | None, Option(metavar="N", default="none")] = Field(
        default=None, ge=1, description="The N papers whose best two labels are closest to each other."
    )
    confused: Annotated[tuple[str, str] | None, Option(metavar="TRUE PREDICTED", default="none")] = Field(
        default=None,
        description="Papers with the true label TRUE that got the label PREDICTED, the most confident errors first.",
    )
    label: Annotated[str | None, Option(metavar="LABEL", default="none")] = Field(
        default=None, description="Papers that got this label."
    )
    id: Annotated[str | None, Option(metavar="ID", default="none")] = Field(
        default=None, description="All rows with this id, with all that is known about each."
    )
    rejected: Annotated[str | None, Option(metavar="REASON", default="none")] = Field(
        default=None, description="Rows that were rejected for this reason."
    )


class Amount(Settings):
    """How many papers are shown."""

    panel = "How many"

    sample: Annotated[int | None, Option(metavar="N", default=f"the first {USUAL}")] = Field(
        default=None,
        ge=1,
        description="Show N of the papers, chosen at random but always the same ones. For --confused, --label and "
        "--rejected.",
    )
    all: Annotated[bool, Option(negative=False)] = Field(
        default=False, description="Show all of the papers, in the order of the input. For --confused, --label and "
        "--rejected."
    )  # fmt: skip

    @property
    def is_given(self) -> bool:
        """Whether one of the options is given."""
        return self.sample is not None or self.all


@command(
    "specter-batch show night --least-certain 20",
    "specter-batch show night --rejected not_english --csv",
)
def show(night: NightToShow, choice: Choice, amount: Amount) -> None:
    """Show papers of a night: the least certain ones, errors, a sample of a label, an id, or rejected rows."""
    from specter_jobs.inspect.show import NightView

    night.check([night.out], papers=night.papers)
    question = _question(choice, amount)
    view = NightView(night.out, night.papers)
    if amount.all and (night.as_csv or night.parquet is not None):
        tables, total = view.all(question), None
    elif amount.all or question.ask == "id":
        table = pa.concat_tables([view.schema.empty_table(), *view.all(question)])
        tables, total = iter([table]), len(table)
    else:
        table, total = view.first(question)
        tables = iter([table])
    if night.parquet is not None:
        write_rows(tables, view.schema, night.parquet)
    elif night.as_csv:
        show_rows_as_csv(tables, view.schema)
    else:
        rows = [row for table in tables for row in plain_rows(table)]
        if night.as_json:
            show_json({"papers": total, "rows": rows, "notes": view.notes})
            return
        show_lines(*_lines(question, rows, total or 0))
    for note in view.notes:
        show_notice(f"note: {note}")


def _question(choice: Choice, amount: Amount) -> Question:
    given: dict[Ask, Any] = {ask: value for ask in get_args(Ask) if (value := getattr(choice, ask)) is not None}
    names = ", ".join(Choice.spelling(name) for name in Choice.model_fields)
    if not given:
        raise UsageError(f"no papers are chosen; give one of {names}")
    if len(given) > 1:
        first, second, *_ = (Choice.spelling(name) for name in given)
        raise UsageError(f"{first} and {second} cannot be given together; give one of {names}")
    ((ask, value),) = given.items()
    if amount.sample is not None and amount.all:
        raise UsageError("--sample and --all cannot be given together; give one of them")
    if ask in ("least_certain", "id"):
        if amount.is_given:
            raise UsageError(f"--sample and --all do not go with {Choice.spelling(ask)}; leave them out")
        papers = value if ask == "least_certain" else None
        return Question(ask=ask, papers=papers, values=() if ask == "least_certain" else (value,))
    papers = None if amount.all else amount.sample or USUAL
    values = tuple(value) if ask == "confused" else (value,)
    return Question(ask=ask, values=values, papers=papers, at_random=amount.sample is not None)


def _lines(question: Question, rows: list[dict[str, Any]], total: int) -> list[str]:
    if question.ask == "id":
        return [line for row in rows for line in _all_that_is_known(row)]
    if not rows:
        return [f"no papers: {_what(question)}"]
    titles = [row["title"] or "(no title)" for row in rows]
    if question.ask == "rejected":
        columns = ["id", "file", "row", "detail"]
        cells = [[_text(row["paper_id"]), row["file"], str(row["row"]), _text(row["reject_detail"])] for row in rows]
        lines = table_lines(columns, cells, below=titles, numbers=("row",))
    else:
        columns = ["id", "label", "score", "runner-up", "margin", "true label"]
        cells = [
            [
                _text(row["paper_id"]),
                row["label"],
                f"{row['score']:.3f}",
                _text(row["runner_up"]),
                "-" if row["margin"] is None else f"{row['margin']:.4f}",
                _text(row["true_label"]),
            ]
            for row in rows
        ]
        # Nights of older versions have no runner-up and no margin, and many papers have no true label.
        shown = [at for at in range(len(columns)) if any(row[at] != "-" for row in cells)]
        columns, cells = [columns[at] for at in shown], [[row[at] for at in shown] for row in cells]
        lines = table_lines(columns, cells, below=titles, numbers=("score", "margin"))
    number = (
        f"{len(rows):,} of {total:,} papers" if len(rows) < total else f"{total:,} paper{'' if total == 1 else 's'}"
    )
    return [*lines, f"{number}{', chosen at random' if question.at_random else ''}: {_what(question)}"]


def _what(question: Question) -> str:
    """Say in words which papers are shown."""
    match question.ask:
        case "least_certain":
            return "the least certain labels first"
        case "confused":
            return f"the true label is {question.values[0]} and the label is {question.values[1]}"
        case "label":
            return f"the label is {question.values[0]}"
    return f"rejected as {question.values[0]}"


def _all_that_is_known(row: dict[str, Any]) -> list[str]:
    width = max(map(len, row))
    return [*(f"{name:{width}}  {_text(value)}" for name, value in row.items() if value is not None), ""]


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
