from pathlib import Path
from typing import Any

import pytest

from specter_batch.errors import ConfigError, ShardError
from specter_batch.storage.output_claim import mark_output
from specter_jobs.label.prepare import ShardPreparer
from specter_jobs.output.report_model.parts import RowCounts
from specter_jobs.plan.decisions import DeduplicatedShard
from support.former_night import make_former
from support.papers_on_disk import RunNight, label_bytes, paper, read_all, write_dump


def without_mark(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["paper_id"]: {name: value for name, value in row.items() if name != "reused"} for row in rows}


def test_only_what_changed_is_asked_of_the_model(night: RunNight, tmp_path: Path, asked: list[int]) -> None:
    yesterday = [paper(i) for i in range(40)]
    night(write_dump(tmp_path / "in1/a.parquet", yesterday), out=tmp_path / "one", shard_rows=9)
    assert sum(asked) == 40
    asked.clear()
    # Two edited, one new, three gone, in other files and another order.
    today = [paper(i, title="Edited") if i in (4, 30) else paper(i) for i in range(40) if i not in (1, 2, 3)]
    today = [*reversed(today), paper(99)]
    write_dump(tmp_path / "in2/x.parquet", today[:20])
    write_dump(tmp_path / "in2/y.parquet", today[20:])
    warm = night(tmp_path / "in2", out=tmp_path / "two", reuse=[tmp_path / "one"], shard_rows=9).report
    assert sum(asked) == 3
    assert warm.rows.model_dump(by_alias=True) == {"in": 38, "labelled": 3, "reused": 35, "rejected": 0, "failed": 0}
    rows = read_all(tmp_path / "two/labels")
    assert {row["paper_id"] for row in rows if not row["reused"]} == {"p4", "p30", "p99"}
    night(tmp_path / "in2", out=tmp_path / "cold", shard_rows=9)
    assert without_mark(rows) == without_mark(read_all(tmp_path / "cold/labels"))


def test_the_same_text_twice_in_a_night_is_asked_once(night: RunNight, tmp_path: Path, asked: list[int]) -> None:
    same = {"title": "Outcomes of one and the same trial"}
    rows = [paper(i, abstract=paper(i % 3)["abstract"], **same) for i in range(12)]
    report = night(write_dump(tmp_path / "in/a.parquet", rows), shard_rows=4).report
    assert sum(asked) == 3
    assert report.rows.reused == 9
    labels = {
        row["paper_id"]: (row["label"], row["score"], row["text_hash"]) for row in read_all(tmp_path / "out/labels")
    }
    assert all(labels[f"p{i}"] == labels[f"p{i % 3}"] for i in range(12))


def test_probabilities_are_reused_too(night: RunNight, tmp_path: Path, asked: list[int]) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in (1, 2, 3, 4)])
    night(dump, out=tmp_path / "one", probabilities=True)
    asked.clear()
    night(dump, out=tmp_path / "two", probabilities=True, reuse=[tmp_path / "one"])
    assert sum(asked) == 0
    assert without_mark(read_all(tmp_path / "two/labels")) == without_mark(read_all(tmp_path / "one/labels"))


def test_probabilities_follow_from_the_logits_of_a_night_without_them(
    night: RunNight, tmp_path: Path, asked: list[int]
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in (1, 2)])
    night(dump, out=tmp_path / "one")
    night(dump, out=tmp_path / "two", probabilities=True, reuse=[tmp_path / "one"])
    assert sum(asked) == 2
    night(dump, out=tmp_path / "cold", probabilities=True)
    assert without_mark(read_all(tmp_path / "two/labels")) == without_mark(read_all(tmp_path / "cold/labels"))


def test_labels_of_a_former_version_are_reused_without_runner_up_and_margin(
    night: RunNight, tmp_path: Path, asked: list[int]
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in (1, 2)])
    night(dump, out=tmp_path / "one")
    before = read_all(tmp_path / "one/labels")
    make_former(tmp_path / "one")
    night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"])
    assert sum(asked) == 2
    unknown = {"runner_up": None, "margin": None, "logits": None}
    assert read_all(tmp_path / "two/labels") == [row | unknown | {"reused": True} for row in before]
    night(dump, out=tmp_path / "three", probabilities=True, reuse=[tmp_path / "one", tmp_path / "two"])
    assert sum(asked) == 4


def test_a_former_night_with_probabilities_lends_the_runner_up_too(
    night: RunNight, tmp_path: Path, asked: list[int]
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in (1, 2)])
    night(dump, out=tmp_path / "one", probabilities=True)
    before = read_all(tmp_path / "one/labels")
    make_former(tmp_path / "one", keep=("probabilities",))
    night(dump, out=tmp_path / "two", probabilities=True, reuse=[tmp_path / "one"])
    assert sum(asked) == 2
    for row, same in zip(before, read_all(tmp_path / "two/labels"), strict=True):
        assert same["margin"] == pytest.approx(row["margin"], abs=1e-6)
        assert same == row | {"logits": None, "reused": True, "margin": same["margin"]}


def test_another_graph_reuses_nothing(night: RunNight, tmp_path: Path, asked: list[int]) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in (1, 2)])
    night(dump, out=tmp_path / "one")
    report = night(dump, out=tmp_path / "two", graph="fp32", reuse=[tmp_path / "one"]).report
    assert asked == [2, 2]
    assert report.rows.reused == 0


def test_several_nights_can_lend(night: RunNight, tmp_path: Path, asked: list[int]) -> None:
    for name, numbers in (("one", (1, 2)), ("two", (3,))):
        night(write_dump(tmp_path / f"{name}.parquet", [paper(i) for i in numbers]), out=tmp_path / name)
    asked.clear()
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in (1, 2, 3, 4)])
    night(dump, out=tmp_path / "three", reuse=[tmp_path / "one", tmp_path / "two"])
    assert sum(asked) == 1


def test_a_folder_that_is_no_night_is_a_clear_error(night: RunNight, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not an output of `classify`, ledger\.jsonl is missing; give the OUT"):
        night(write_dump(tmp_path / "in/a.parquet", [paper(1)]), reuse=[tmp_path])


def test_a_night_that_never_ran_costs_time_and_nothing_else(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    assert night(dump, reuse=[tmp_path / "nights/2026-02-30"]).report.rows.labelled == 1


def test_a_language_that_is_refused_today_is_not_reused(night: RunNight, tmp_path: Path) -> None:
    german = paper(
        1, title="Ergebnisse der Studie über die Behandlung", abstract="Die Patienten wurden untersucht. " * 9
    )
    dump = write_dump(tmp_path / "in/a.parquet", [german, paper(2)])
    night(dump, out=tmp_path / "one", language="any")
    report = night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"]).report
    assert report.rows == RowCounts(rows_in=2, labelled=0, reused=1, rejected=1, failed=0)


def test_a_reusing_night_is_the_same_whole_and_resumed(night: RunNight, tmp_path: Path) -> None:
    night(write_dump(tmp_path / "in1/a.parquet", [paper(i) for i in range(0, 30, 2)]), out=tmp_path / "one")
    dump = write_dump(tmp_path / "in2/a.parquet", [paper(i) for i in range(30)])
    night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"], shard_rows=6)
    whole = label_bytes(tmp_path / "two")
    ledger = tmp_path / "two/ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
    assert night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"], shard_rows=6).manifest.this_run.shards == 3
    assert label_bytes(tmp_path / "two") == whole


def test_a_copy_whose_first_was_in_a_failed_shard_is_asked_of_the_model(
    night: RunNight, tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    same = {"title": "Outcomes of one and the same trial", "abstract": paper(0)["abstract"]}
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1, **same), paper(2), paper(3, **same), paper(4)])
    night(dump, out=tmp_path / "whole", shard_rows=2)
    assert asked == [2, 1]
    asked.clear()
    screen = ShardPreparer.screen

    def fail_first(self: ShardPreparer, deduplicated: DeduplicatedShard, *given: Any, **more: Any) -> Any:
        if deduplicated.number == 0:
            raise ShardError("the disk is on fire")
        return screen(self, deduplicated, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ShardPreparer, "screen", fail_first)
        broken = night(dump, out=tmp_path / "broken", shard_rows=2)
    assert broken.exit_code == 3
    assert asked == [1, 2]  # of the copy once it is known that nobody else labels it
    night(dump, out=tmp_path / "broken", shard_rows=2)
    assert label_bytes(tmp_path / "broken") == label_bytes(tmp_path / "whole")


def test_a_changed_label_file_of_the_same_size_lends_nothing(night: RunNight, tmp_path: Path, asked: list[int]) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(6)])
    night(dump, out=tmp_path / "one", shard_rows=3)
    first, second = sorted((tmp_path / "one/labels").iterdir())
    held = second.read_bytes()
    second.write_bytes(first.read_bytes()[: len(held)].ljust(len(held), b"x"))
    asked.clear()
    night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"])
    assert sum(asked) == 3
    assert without_mark(read_all(tmp_path / "two/labels")).keys() == {f"p{i}" for i in range(6)}


def test_a_night_that_was_killed_at_once_costs_time_and_nothing_else(night: RunNight, tmp_path: Path) -> None:
    mark_output(tmp_path / "killed", "classify")
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    assert night(dump, reuse=[tmp_path / "killed"]).report.rows.labelled == 1


def test_labels_that_the_ledger_does_not_list_are_counted(night: RunNight, tmp_path: Path, asked: list[int]) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(6)])
    night(dump, out=tmp_path / "one", shard_rows=2)
    ledger = tmp_path / "one/ledger.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:1]))
    asked.clear()
    reuse = night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"]).report.reuse
    assert sum(asked) == 4
    assert reuse is not None
    assert [str(one) for one in reuse.unusable] == [
        f"4 labels of {tmp_path / 'one'} cannot be reused: ledger.jsonl does not list their files; run that night again"
    ]
