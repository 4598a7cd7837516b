import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import ConfigError, ShardError, UsageError
from specter_batch.papers.parquet import read_table
from specter_jobs import compare_nights
from specter_jobs.inspect.compare.changes import CAUSES
from support.other_bundle import other_bundle
from support.papers_on_disk import RunNight, paper, write_dump
from support.written_nights import LABELS, Row, WrittenNight, expected_rows, write_night

NEAR = 0.05
rows = st.builds(
    Row,
    paper_id=st.sampled_from([None, "a", "b", "c", "d", "e"]),
    title=st.sampled_from(["One title", "Another title"]),
    status=st.sampled_from(["labelled"] * 5 + ["reused", "rejected", "failed"]),
    label=st.sampled_from(LABELS),
    runner_up=st.sampled_from([None, *LABELS]),
    margin=st.sampled_from([None, NEAR, 0.5]),
    score=st.floats(0, 1),
)
inputs = st.lists(st.lists(rows, max_size=8), min_size=1, max_size=2)


def named(files: list[list[Row]]) -> dict[str, list[Row]]:
    return {f"{number}.parquet": rows for number, rows in enumerate(files)}


def numbered(night: WrittenNight) -> dict[tuple[str, int], Row]:
    """Return the rows by id and number of the copy; a copy with a label comes first."""
    by_id: dict[str, list[Row]] = {}
    for _, _, row in expected_rows(night):
        if row.paper_id is not None:
            by_id.setdefault(row.paper_id, []).append(row)
    ordered = {key: sorted(rows, key=lambda row: not has_label(row)) for key, rows in by_id.items()}
    return {(key, copy): row for key, rows in ordered.items() for copy, row in enumerate(rows)}


def has_label(row: Row | None) -> bool:
    return row is not None and row.status in ("labelled", "reused")


def is_near(one: Row, other: Row) -> bool:
    return one.margin == NEAR and one.runner_up == other.label


def cause(before: Row | None, now: Row | None, *, bundles: bool, models: bool) -> str:
    """Return the cause of a change, worked out in another way than the database does."""
    if not has_label(before) and not has_label(now):
        return "without_label"
    if before is None:
        return "new"
    if now is None:
        return "gone"
    if not has_label(now):
        return "rejected_now" if now.status == "rejected" else "failed_now"
    if not has_label(before):
        return "rejected_before" if before.status == "rejected" else "failed_before"
    if before.label == now.label:
        return "unchanged"
    if before.text_hash != now.text_hash:
        return "text_changed"
    if bundles:
        return "model_changed"
    if is_near(before, now) and is_near(now, before):
        return "near_tie"
    return "graph_changed" if models else "unexplained"


@settings(max_examples=25, deadline=None)
@given(before=inputs, now=inputs, other=st.sampled_from(["nothing", "graph", "bundle"]))
def test_every_row_has_exactly_one_cause(before: list[list[Row]], now: list[list[Row]], other: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = write_night(Path(folder), named(before), out="a", papers="in-a")
        models = {} if other == "nothing" else {other: "another"}
        second = write_night(Path(folder), named(now), out="b", papers="in-b", shard_rows=2, **models)
        result = compare_nights(first.out, second.out, as_="arrow")
        titles = {row["title"] for row in result.changed.to_pylist()}
    earlier, later = numbered(first), numbered(second)
    expected = Counter(
        cause(earlier.get(key), later.get(key), bundles=other == "bundle", models=other != "nothing")
        for key in earlier.keys() | later.keys()
    )
    for night in (first, second):  # rows without an id are in no other night
        alone = Counter(has_label(row) for _, _, row in expected_rows(night) if row.paper_id is None)
        expected += Counter({"new" if night is second else "gone": alone[True], "without_label": alone[False]})
    counts = result.counts
    found = Counter({name: count.papers for name, count in counts.causes.items()})
    assert +found == Counter({name: number for name, number in expected.items() if name in CAUSES})
    assert (counts.unchanged, counts.without_label) == (expected["unchanged"], expected["without_label"])
    assert counts.changed == sum(found.values()) == len(result.changed)
    assert Counter(result.changed["cause"].to_pylist()) == +found
    assert titles <= {"One title", "Another title"}


@pytest.fixture
def nights(tmp_path: Path) -> tuple[Path, Path]:
    """Return two nights in which one paper changed for each of several causes."""
    tie = {"margin": 0.01, "score": 0.5}
    before = [
        Row(paper_id="same", title="Same", label="Bio"),
        Row(paper_id="text", title="Old", label="Bio", score=0.9),
        Row(paper_id="tie", title="Tie", label="Bio", runner_up="Chem", **tie),
        Row(paper_id="graph", title="Graph", label="Bio", runner_up="Chem", margin=0.7, score=0.85),
        Row(paper_id="gone", title="Gone"),
        Row(paper_id="reject", title="Rejected later"),
    ]
    now = [
        Row(paper_id="reject", title="Rejected later", status="rejected", reason="not_finite"),
        Row(paper_id="new", title="New"),
        Row(paper_id="graph", title="Graph", label="Chem", runner_up="Bio", margin=0.01, score=0.5),
        Row(paper_id="tie", title="Tie", label="Chem", runner_up="Bio", **tie),
        Row(paper_id="text", title="New text", label="Chem", score=0.8),
        Row(paper_id="same", title="Same", label="Bio"),
    ]
    first = write_night(tmp_path, {"a.parquet": before}, out="before", papers="papers-before")
    second = write_night(tmp_path, {"a.parquet": now}, out="now", papers="papers-now", graph="other")
    return first.out, second.out


def test_the_changed_papers_come_with_both_answers_and_their_title(nights: tuple[Path, Path]) -> None:
    result = compare_nights(*nights)
    rows = {row["paper_id"]: row for row in result.changed.to_dict("records")}
    causes = {key: row["cause"] for key, row in rows.items()}
    assert causes == {
        "text": "text_changed", "tie": "near_tie", "graph": "graph_changed", "gone": "gone", "new": "new",
        "reject": "rejected_now",
    }  # fmt: skip
    assert rows["text"]["title"] == "New text"
    assert rows["gone"]["title"] == "Gone"
    assert (rows["tie"]["before_label"], rows["tie"]["now_label"]) == ("Bio", "Chem")
    assert rows["reject"]["now_reject_reason"] == "not_finite"
    assert (rows["graph"]["before_file"], rows["graph"]["before_row"], rows["graph"]["now_row"]) == ("a.parquet", 3, 2)
    (flow,) = result.counts.transitions
    assert (flow.before, flow.now, flow.papers) == ("Bio", "Chem", 3)
    wider = compare_nights(*nights, near_tie=0.8).counts.causes
    assert (wider["near_tie"].papers, wider["graph_changed"].papers) == (2, 0)


def test_a_real_night_with_another_bundle_and_other_papers(night: RunNight, tiny_bundle: Path, tmp_path: Path) -> None:
    papers = [paper(number) for number in range(8)]
    dump = write_dump(tmp_path / "in/a.parquet", papers)
    night(dump, out=tmp_path / "a")
    changed = [paper(0, title=None), *papers[1:7], paper(9)]
    night(
        write_dump(tmp_path / "other/a.parquet", changed),
        out=tmp_path / "b",
        bundle=other_bundle(tiny_bundle, tmp_path / "new"),
    )
    counts = compare_nights(tmp_path / "a", tmp_path / "b").counts
    causes = {name: count.papers for name, count in counts.causes.items() if count.papers}
    assert causes.pop("model_changed", 0) + counts.unchanged == 6
    assert causes == {"new": 1, "gone": 1, "rejected_now": 1}
    assert counts.before.bundle != counts.now.bundle


def test_papers_of_failed_shards_are_not_gone_and_without_the_papers_that_is_said(tmp_path: Path) -> None:
    first = write_night(tmp_path, {"a.parquet": [Row(paper_id="a"), Row(paper_id="b")]}, out="a")
    failed = [Row(paper_id="a"), Row(paper_id="b", status="failed")]
    second = write_night(tmp_path, {"a.parquet": failed}, out="b", shard_rows=1)
    counts = compare_nights(first.out, second.out).counts
    assert (counts.causes["failed_now"].papers, counts.causes["gone"].papers, counts.notes) == (1, 0, ())
    (second.papers / "a.parquet").unlink()
    counts = compare_nights(first.out, second.out).counts
    assert (counts.causes["failed_now"].papers, counts.causes["gone"].papers) == (0, 1)
    assert "1 rows of failed shards have no id here" in counts.notes[0]


def test_labels_that_are_not_those_of_the_ledger_are_an_error(nights: tuple[Path, Path]) -> None:
    ledger = nights[1] / "ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    lines[0]["labels"]["rows"] += 1
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ShardError, match="specter-batch verify"):
        compare_nights(*nights)


def test_what_cannot_be_compared_is_refused(nights: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        compare_nights(nights[0], tmp_path / "none")
    with pytest.raises(UsageError, match="a comparison is read at once"):
        compare_nights(*nights, as_="batches")


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(build_app(), [str(word) for word in words])
    return done.exit_code, done.stdout


def test_the_command_prints_the_causes_and_the_papers_in_80_columns(nights: tuple[Path, Path]) -> None:
    code, printed = run("compare", *nights)
    lines = printed.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    words = [line.split() for line in lines]
    assert ["same", "label", "1", "14.29%"] in words
    assert ["all", "changed", "6", "85.71%"] in words
    assert [line for line in words if line[:4] == ["near", "tie", "1", "14.29%"]]
    assert ["Bio", "Chem", "3"] in words
    assert {"  New text", "  Tie", "  Graph"} <= set(lines)


def test_the_other_formats_give_all_changed_papers(nights: tuple[Path, Path], tmp_path: Path) -> None:
    counts = json.loads(run("compare", *nights, "--json")[1])
    assert sum(cause["papers"] for cause in counts["causes"].values()) == counts["changed"] == 6
    assert len(run("compare", *nights, "--csv")[1].splitlines()) == 7
    file = tmp_path / "changed.parquet"
    assert run("compare", *nights, "--parquet", file)[1] == f"6 rows written to {file}\n"
    assert len(read_table(file)) == 6
    assert run("compare", *nights, "--json", "--csv")[0] != 0
