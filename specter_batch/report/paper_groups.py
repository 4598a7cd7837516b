"""The papers behind the figures of a page, as the page shows them: groups that cells and bars link to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from specter_batch.display import visible_text
from specter_batch.report.paper_choice import (
    MAX_CELLS,
    MAX_IN_GROUP,
    MAX_SHOWN,
    BestOfGroups,
    GroupLimits,
    PaperChooser,
)

# Longer titles and labels are cut, so that no data can make a page large.
MAX_TITLE, MAX_ID, MAX_LABEL = 160, 60, 60
# Most bytes of HTML that the papers of a page take; groups become smaller until they fit.
MAX_BYTES = 1_350_000
CONFIDENT_FIRST = "the most confident errors first"
UNCERTAIN_FIRST = "the least certain first"


@dataclass(frozen=True, kw_only=True)
class ShownPaper:
    """A paper of a group, as the page shows it.

    Attributes:
        paper_id: Id of the paper; None if it has none.
        title: Title of the paper; None if it is not known.
        true: True label; None if the paper has none.
        predicted: Predicted label; None for a rejected row.
        runner_up: Label with the second highest probability; None if it is not known.
        score: Calibrated probability of the predicted label; None for a rejected row.
        margin: Probability of the predicted label minus that of the runner-up; None if it is not known.
        place: File and row of a rejected row; None for others.
        detail: Detail of a reject reason; None if there is none.
    """

    paper_id: str | None
    title: str | None = None
    true: str | None = None
    predicted: str | None = None
    runner_up: str | None = None
    score: float | None = None
    margin: float | None = None
    place: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class PaperGroup:
    """The papers behind a cell or a bar.

    Attributes:
        anchor: Name of the group on the page, which links lead to.
        heading: Description of the group.
        order: Description of the order of its papers.
        back: Name of the section that the group belongs to.
        papers: Number of papers that belong to the group.
        shown: The papers that are shown.
    """

    anchor: str
    heading: str
    order: str
    back: str
    papers: int
    shown: Sequence[ShownPaper]


@dataclass(frozen=True, kw_only=True)
class PaperGroups:
    """All groups of a page.

    Attributes:
        groups: The groups that show papers.
        notes: Sentences about papers or titles that are not shown.
    """

    groups: Sequence[PaperGroup] = ()
    notes: Sequence[str] = ()

    @cached_property
    def _anchors(self) -> frozenset[str]:
        return frozenset(group.anchor for group in self.groups)

    @property
    def shown(self) -> int:
        """Number of rows that the page shows."""
        return sum(len(group.shown) for group in self.groups)

    def link(self, kind: str, *numbers: int) -> str | None:
        """Return the name of a group if the page has it; None otherwise.

        Args:
            kind: `cell`, `label`, `f1` or `reject`.
            numbers: Positions of the labels, or of the reject reason.
        """
        anchor = anchor_of(kind, *numbers)
        return anchor if anchor in self._anchors else None


def anchor_of(kind: str, *numbers: int) -> str:
    """Return the name on the page of a group; no text from data is part of it."""
    return "-".join([kind, *map(str, numbers)])


def chosen_groups(
    chooser: PaperChooser,
    labels: Sequence[str],
    *,
    titles: Callable[[pa.Table], Sequence[str | None]],
    bars: str = "labels",
) -> list[PaperGroup]:
    """Return the groups of the papers that were chosen: cells of the confusion matrix, then bars of the labels.

    Args:
        chooser: The chosen papers. Their tables have the columns `paper_id`, `true_label`, `label`, `runner_up`,
            `score` and `margin`.
        labels: Names of the labels.
        titles: Returns the titles of the papers of a table.
        bars: Section of the page that has the bars of the papers by label.
    """
    n, limits = len(labels), chooser.limits
    names = [cut(name, MAX_LABEL) for name in labels]

    def cell(number: int) -> tuple[str, str, str, str]:
        true, predicted = divmod(number, n)
        order = UNCERTAIN_FIRST if true == predicted else CONFIDENT_FIRST
        return anchor_of("cell", true, predicted), f"{names[true]}, labelled {names[predicted]}", order, "confusion"

    def label(number: int) -> tuple[str, str, str, str]:
        return anchor_of("label", number), f"Labelled {names[number]}", UNCERTAIN_FIRST, bars

    def errors(number: int) -> tuple[str, str, str, str]:
        heading = f"Errors with {names[number]}: missed, or wrongly given"
        return anchor_of("f1", number), heading, CONFIDENT_FIRST, "f1"

    parts = ((chooser.cells, limits.cells.ravel(), cell), (chooser.labels, limits.labels, label))
    groups = []
    for best, sizes, describe in (*parts, (chooser.errors, limits.errors, errors)):
        for number, papers in _papers(best, titles).items():
            anchor, heading, order, back = describe(number)
            size = int(sizes[number])
            groups.append(PaperGroup(anchor=anchor, heading=heading, order=order, back=back, papers=size, shown=papers))
    return groups


def fitting(groups: Sequence[PaperGroup], *, most: int = MAX_BYTES) -> list[PaperGroup]:
    """Shorten all groups to the same number of papers until their HTML has at most `most` bytes."""
    sizes = [[_size(paper) for paper in group.shown] for group in groups]
    room = most - sum(_GROUP_TAGS + len(group.heading.encode(errors="replace")) for group in groups)
    for each in range(MAX_IN_GROUP, 0, -1):
        if sum(sum(size[:each]) for size in sizes) <= room:
            return [replace(group, shown=group.shown[:each]) for group in groups]
    return []


def left_out_sentences(limits: GroupLimits) -> list[str]:
    """Return a sentence about cells of the confusion matrix whose papers do not fit on the page, if there are any."""
    cells = limits.cells_left_out
    if not cells:
        return []
    return [
        f"{cells:,} cells with few papers have no list, because a page has at most {MAX_CELLS:,} lists for cells and "
        f"{MAX_SHOWN:,} papers in all."
    ]


def _papers(best: BestOfGroups, titles: Callable[[pa.Table], Sequence[str | None]]) -> Mapping[int, list[ShownPaper]]:
    table, rows = best.rows()
    if table is None:
        return {}
    papers = [_paper(row, title) for row, title in zip(table.to_pylist(), titles(table), strict=True)]
    return {group: [papers[row] for row in chosen] for group, chosen in rows.items()}


def _paper(row: Mapping[str, Any], title: str | None) -> ShownPaper:
    margin = row["margin"]
    return ShownPaper(
        paper_id=cut(row["paper_id"], MAX_ID),
        title=cut(title, MAX_TITLE),
        true=cut(row["true_label"], MAX_LABEL),
        predicted=cut(row["label"], MAX_LABEL),
        runner_up=cut(row["runner_up"], MAX_LABEL),
        score=row["score"],
        margin=None if margin is None or margin != margin else margin,  # NaN is not equal to itself
    )


def cut(text: str | None, most: int) -> str | None:
    """Return a text of at most `most` visible characters, in which characters that cannot be seen are escaped."""
    if text is None:
        return None
    shown = visible_text(text[: 4 * most])
    return shown if len(shown) <= most else shown[: most - 1].rstrip() + "…"


def _size(paper: ShownPaper) -> int:
    texts = (paper.paper_id, paper.title, paper.true, paper.predicted, paper.runner_up, paper.place, paper.detail)
    return _TAGS + sum(len(Markup.escape(text).encode(errors="replace")) for text in texts if text)


# Bytes of the tags and numbers of a row, and of the tags and words of a group.
_TAGS, _GROUP_TAGS = 120, 450
