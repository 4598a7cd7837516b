"""The choice of the papers behind the figures, compared with a choice made by sorting all papers at once."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.report.paper_choice import MAX_IN_GROUP, MAX_SHOWN, GroupLimits, PaperChooser, allotted
from specter_batch.report.paper_groups import (
    MAX_BYTES,
    MAX_TITLE,
    PaperGroup,
    PaperGroups,
    ShownPaper,
    chosen_groups,
    fitting,
    left_out_sentences,
)

LABELS = ("art", "law", "music")
# True label (-1: not scored), predicted label, score and margin in hundredths (None: unknown).
Paper = tuple[int, int, int, int | None]
PAPERS = st.lists(
    st.tuples(st.integers(-1, 2), st.integers(0, 2), st.integers(1, 100), st.none() | st.integers(0, 100)),
    max_size=150,
)


def limits_of(papers: Sequence[Paper], n_labels: int = 3) -> GroupLimits:
    cells = np.zeros((n_labels, n_labels), np.int64)
    for true, predicted, _, _ in papers:
        if true >= 0:
            cells[true, predicted] += 1
    labels = np.bincount([predicted for _, predicted, _, _ in papers], minlength=n_labels)
    return GroupLimits(cells=cells, labels=labels)


def table_of(papers: Sequence[Paper], first: int = 0) -> pa.Table:
    true = [LABELS[label] if label >= 0 else None for label, *_ in papers]
    return pa.table(
        {
            "paper_id": pa.array([str(first + i) for i in range(len(papers))], pa.string()),
            "true_label": pa.array(true, pa.string()),
            "label": pa.array([LABELS[label] for _, label, *_ in papers], pa.string()),
            "runner_up": pa.nulls(len(papers), pa.string()),
            "score": pa.array([score / 100 for _, _, score, _ in papers], pa.float64()),
            "margin": pa.array([None if m is None else m / 100 for *_, m in papers], pa.float64()),
        }
    )


def groups_of(papers: Sequence[Paper], *, part: int) -> dict[str, PaperGroup]:
    """Return the groups of papers that are added in parts, by anchor."""
    chooser = PaperChooser(limits_of(papers))
    for first in range(0, len(papers), part):
        some = papers[first : first + part]
        table = table_of(some, first)
        margin = np.array([np.nan if m is None else m / 100 for *_, m in some])
        chooser.add(
            table,
            true=np.array([true for true, *_ in some]),
            predicted=np.array([predicted for _, predicted, *_ in some]),
            score=table["score"].to_numpy(),
            margin=margin,
        )
    groups = chosen_groups(chooser, LABELS, titles=lambda table: [f"On {one}" for one in table["paper_id"].to_pylist()])
    return {group.anchor: group for group in groups}


def certainty(paper: Paper) -> float:
    return 1 + paper[2] / 100 if paper[3] is None else paper[3] / 100


@settings(deadline=None)
@given(papers=PAPERS, part=st.integers(1, 60))
def test_each_group_has_its_first_papers_in_the_right_order(papers: list[Paper], part: int) -> None:
    expected = {}
    for i in range(3):
        own = [n for n, paper in enumerate(papers) if paper[1] == i]
        expected[f"label-{i}"] = sorted(own, key=lambda n: certainty(papers[n]))
        wrong = [n for n, (true, given, *_) in enumerate(papers) if true >= 0 and true != given and i in (true, given)]
        expected[f"f1-{i}"] = sorted(wrong, key=lambda n: -papers[n][2])
        for j in range(3):
            cell = [n for n, paper in enumerate(papers) if paper[:2] == (i, j)]
            expected[f"cell-{i}-{j}"] = sorted(cell, key=lambda n: certainty(papers[n]) if i == j else -papers[n][2])
    found = groups_of(papers, part=part)
    assert found.keys() == {name for name, rows in expected.items() if rows}
    for name, group in found.items():
        rows = [int(paper.paper_id or "") for paper in group.shown]
        assert len(rows) == min(len(expected[name]), MAX_IN_GROUP)
        assert group.papers == len(expected[name])
        if not name.startswith("f1"):  # among errors with equal scores, missed papers of the same part come first
            assert rows == expected[name][: len(rows)]
        scores = [papers[row][2] for row in rows]
        assert sorted(scores) == sorted(papers[row][2] for row in expected[name][: len(rows)]) or name[:2] != "f1"
        assert [paper.title for paper in group.shown] == [f"On {row}" for row in rows]


@settings(deadline=None)
@given(papers=PAPERS)
def test_the_most_confident_errors_come_first(papers: list[Paper]) -> None:
    for name, group in groups_of(papers, part=7).items():
        scores = [paper.score or 0.0 for paper in group.shown]
        if group.order.startswith("the most confident"):
            assert all(a >= b for a, b in pairwise(scores)), name
            assert all(paper.true != paper.predicted for paper in group.shown)


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 100), max_size=60), budget=st.integers(0, 400))
def test_no_more_papers_are_shown_than_there_is_room_for(sizes: list[int], budget: int) -> None:
    shown = allotted(np.array(sizes, np.int64), budget=budget)
    assert shown.sum() <= budget
    assert (shown <= np.minimum(sizes, MAX_IN_GROUP)).all()
    wanted = np.minimum(sizes, MAX_IN_GROUP).sum()
    assert shown.sum() == min(wanted, budget)  # no room is wasted


@settings(deadline=None)
@given(st.integers(2, 80), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_every_cell_is_shown_or_said_to_be_left_out(n_labels: int, most: int, seed: int) -> None:
    cells = np.random.default_rng(seed).integers(0, most + 1, (n_labels, n_labels))
    limits = GroupLimits(cells=cells, labels=cells.sum(axis=0))
    with_papers, shown = int((cells > 0).sum()), int((limits.shown_cells > 0).sum())
    assert shown + limits.cells_left_out == with_papers
    assert limits.shown_bars.sum() + limits.shown_cells.sum() <= MAX_SHOWN
    sentences = left_out_sentences(limits)
    assert sentences == [] if shown == with_papers else f"{with_papers - shown:,} cells" in sentences[0]


def test_cells_with_many_papers_are_the_last_to_be_left_out() -> None:
    cells = np.ones((120, 120), np.int64)
    cells[5, 6] = 50
    limits = GroupLimits(cells=cells, labels=cells.sum(axis=0))
    assert limits.cells_left_out > 0
    assert limits.shown_cells.reshape(120, 120)[5, 6] > 0


@pytest.mark.parametrize("text", ["a" * 10_000, "<>&\"'" * 2_000, "\u202e" * 10_000, "\ud83d" * 1000])
def test_no_text_makes_a_page_large(text: str) -> None:
    paper = groups_of([(0, 1, 50, 10)], part=1)["cell-0-1"].shown[0]
    assert paper.title == "On 0"
    chooser = PaperChooser(limits_of([(0, 1, 50, 10)]))
    ones = np.ones(1)
    chooser.add(
        table_of([(0, 1, 50, 10)]), true=np.zeros(1, np.int64), predicted=np.ones(1, np.int64), score=ones, margin=ones
    )
    groups = chosen_groups(chooser, LABELS, titles=lambda table: [text] * len(table))
    assert all(len(paper.title or "") <= MAX_TITLE for group in groups for paper in group.shown)
    many = [PaperGroup(anchor="x", heading="x", order="x", back="x", papers=20, shown=groups[0].shown * 20)] * 400
    kept = fitting(many)
    size = sum(len((paper.title or "").encode(errors="replace")) for group in kept for paper in group.shown)
    assert 0 < size <= MAX_BYTES


def test_only_groups_that_the_page_has_are_linked() -> None:
    group = PaperGroup(anchor="cell-0-1", heading="x", order="x", back="x", papers=1, shown=[ShownPaper(paper_id="1")])
    papers = PaperGroups(groups=[group])
    assert papers.link("cell", 0, 1) == "cell-0-1"
    assert papers.link("cell", 1, 0) is papers.link("f1", 0) is None
    assert papers.shown == 1
