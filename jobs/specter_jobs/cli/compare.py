"""The command that compares two nights."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from specter_batch.options.command import command
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import PathOrUrl
from specter_batch.terminal import show, show_json, show_notice
from specter_jobs.cli.row_output import PapersPlace, plain_rows, show_rows_as_csv, write_rows
from specter_jobs.cli.tables import table_lines
from specter_jobs.inspect.compare.changes import CAUSES, CHANGED_SCHEMA, NEAR_TIE_MARGIN

if TYPE_CHECKING:
    from specter_jobs.inspect.compare.counts import ComparisonCounts

SHOWN_PAPERS = 10
SHOWN_FINGERPRINT = 12


class NightsToCompare(PapersPlace):
    """The two nights, and what counts as a near tie."""

    before: Annotated[PathOrUrl, Option(argument="NIGHT_A")] = Field(description="Output of the earlier night.")
    now: Annotated[PathOrUrl, Option(argument="NIGHT_B")] = Field(description="Output of the later night.")
    near_tie: Annotated[float, Option(metavar="MARGIN")] = Field(
        default=NEAR_TIE_MARGIN,
        ge=0,
        le=1,
        description="A label is a near tie if its probability minus that of the runner-up is smaller than this.",
    )


@command("specter-batch compare night-before night")
def compare(nights: NightsToCompare) -> None:
    """Compare two nights: which labels changed, and what changed each of them."""
    from specter_jobs.inspect.compare import compared

    nights.check([nights.before, nights.now], papers=nights.papers)
    with compared(nights.before, nights.now, papers=nights.papers, near_tie=nights.near_tie) as comparison:
        counts = comparison.counts()
        if nights.as_json:
            show_json(counts.model_dump(mode="json"))
        elif nights.parquet is not None:
            write_rows(comparison.changed(), CHANGED_SCHEMA, nights.parquet)
        elif nights.as_csv:
            show_rows_as_csv(comparison.changed(), CHANGED_SCHEMA)
        else:
            first = comparison.changed(first=SHOWN_PAPERS)
            show(*_lines(counts, [row for table in first for row in plain_rows(table)]))
    if not nights.as_json:
        for note in counts.notes:
            show_notice(f"note: {note}")


def _lines(counts: "ComparisonCounts", papers: list[dict[str, Any]]) -> list[str]:
    lines = [*_nights(counts), ""]
    every = counts.unchanged + counts.changed
    rows = [["same label", f"{counts.unchanged:,}", _share(counts.unchanged, every), "", ""]]
    rows += [
        [
            cause.replace("_", " "),
            f"{count.papers:,}",
            _share(count.papers, every),
            f"{count.near_ties:,}",
            CAUSES[cause],
        ]
        for cause, count in counts.causes.items()
        if count.papers
    ]
    rows.append(["all changed", f"{counts.changed:,}", _share(counts.changed, every), "", ""])
    columns = ["cause", "papers", "share", "near ties", "meaning"]
    lines += table_lines(columns, rows, numbers=("papers", "share", "near ties"))
    if counts.transitions:
        lines += ["", *_transitions(counts)]
    relabelled = [row for row in papers if row["before_label"] and row["now_label"]]
    if relabelled:
        lines += ["", *_papers(relabelled)]
    return lines


def _nights(counts: "ComparisonCounts") -> list[str]:
    columns = ["", "night", "rows", "labelled", "bundle", "device"]
    rows = [
        [
            name,
            night.place,
            f"{night.rows:,}",
            f"{night.labelled:,}",
            (night.bundle or "unknown")[:SHOWN_FINGERPRINT],
            night.device or "unknown",
        ]
        for name, night in (("before", counts.before), ("now", counts.now))
    ]
    return table_lines(columns, rows, numbers=("rows", "labelled"))


def _transitions(counts: "ComparisonCounts") -> list[str]:
    rows = [[one.before, one.now, f"{one.papers:,}"] for one in counts.transitions]
    return table_lines(["label before", "label now", "papers"], rows, numbers=("papers",))


def _papers(rows: list[dict[str, Any]]) -> list[str]:
    columns = ["id", "cause", "before", "score", "now", "score "]
    cells = [
        [
            row["paper_id"],
            row["cause"].replace("_", " "),
            row["before_label"],
            f"{row['before_score']:.3f}",
            row["now_label"],
            f"{row['now_score']:.3f}",
        ]
        for row in rows
    ]
    titles = [row["title"] or "(no title)" for row in rows]
    lines = table_lines(columns, cells, below=titles, numbers=("score", "score "))
    return [*lines, "the most certain changes of a label; --csv or --parquet FILE gives all changes"]


def _share(papers: int, every: int) -> str:
    return f"{papers / every:.2%}" if every else "-"
