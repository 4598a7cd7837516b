import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.errors import SpecterBatchError
from specter_batch.inputs import parquet_inventory
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.text import TEXT_TEMPLATE, paper_text, text_hash
from specter_jobs.plan import shard_keys
from specter_jobs.plan.planning import plan_shards
from specter_jobs.plan.sections import LabelRules
from specter_jobs.plan.shard_keys import PLACES, RunKeys, ShardRun, shard_runs
from specter_jobs.plan.shards import InputFile, Shard
from specter_jobs.screen import shard_reader
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.known_labels import KnownLabels
from specter_jobs.screen.shard_reader import KeyReader, KeyThreads
from support.papers_on_disk import paper, write_dump


def planned(root: Path, shard_rows: int) -> Sequence[Shard]:
    return plan_shards(parquet_inventory(root), columns=PaperColumns(), shard_rows=shard_rows).shards


def without_tables(keys: RunKeys) -> list[tuple[int, str, str | None, list[dict[str, object]]]]:
    return [
        (one.number, one.rows_hash, one.error, [] if one.keys is None else one.keys.to_pylist()) for one in keys.shards
    ]


def test_keys_are_the_ids_and_hashes_of_the_usable_rows(tmp_path: Path) -> None:
    rows = [paper(1, paper_id=" p\u2003"), paper(2, title=None), paper(3, title=" A\n", abstract="b \x1c"), paper(4)]
    write_dump(tmp_path / "a.parquet", rows)
    (run,) = shard_runs(planned(tmp_path, 3))
    found = KeyReader(LabelRules(), TEXT_TEMPLATE).read(run)
    keys = [row for shard in found.shards for row in (shard.keys.to_pylist() if shard.keys is not None else [])]
    assert [(row["paper_id"], row["place"]) for row in keys] == [("p", 0), ("p3", 2), ("p4", PLACES)]
    texts = [paper_text(rows[row]["title"], rows[row]["abstract"]) for row in (0, 2, 3)]
    assert [f"{row['hash_high']:016x}{row['hash_low']:016x}" for row in keys] == [text_hash(text) for text in texts]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=4), st.integers(1, 6), st.integers(1, 8), st.data())
def test_runs_hold_every_shard_once_and_cut_a_row_group_only_if_it_is_large(
    files: list[list[int]], shard_rows: int, run_rows: int, data: st.DataObject
) -> None:
    most = data.draw(st.integers(run_rows, 20))
    shards = []
    for name, groups in enumerate(files):
        starts = tuple(sum(groups[:number]) for number in range(len(groups) + 1))
        file = InputFile(path=Path(f"{name}.parquet"), name=f"{name}", columns={}, group_starts=starts)
        shards += [
            Shard(file=file, start=start, rows=min(shard_rows, file.rows - start))
            for start in range(0, file.rows, shard_rows)
        ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_keys, "RUN_ROWS", run_rows)
        patch.setattr(shard_keys, "MAX_RUN_ROWS", most)
        runs = shard_runs(shards)
    assert [shard for run in runs for shard in run.shards] == shards
    assert [run.first for run in runs] == [sum(len(run.shards) for run in runs[:number]) for number in range(len(runs))]
    assert len({run.number for run in runs} | set(range(len(shards)))) == len(runs) + len(shards)
    assert all(len(run.shards) == 1 or sum(shard.rows for shard in run.shards) <= most for run in runs)
    for run, after in pairwise(runs):
        first = after.shards[0]
        begins_group = first.start in first.file.group_starts
        assert begins_group or sum(shard.rows for shard in run.shards) + first.rows > most


def test_threads_give_the_runs_in_order_and_keep_papers_while_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_keys, "RUN_ROWS", 4)
    for name in "abcdef":
        write_dump(tmp_path / f"{name}.parquet", [paper(number) for number in range(6)], row_group_size=3)
    runs = shard_runs(planned(tmp_path, 2))
    alone = [without_tables(KeyReader(LabelRules(), TEXT_TEMPLATE).read(run)) for run in runs]
    threads = KeyThreads(LabelRules(), TEXT_TEMPLATE, threads=2, kept_bytes=1 << 20)
    found = list(threads.read(runs, check=lambda: None))
    threads.close()
    assert len(runs) == 6
    assert [without_tables(keys) for keys in found] == alone
    assert all(shard.papers is not None for keys in found for shard in keys.shards)


def test_threads_stop_after_the_shard_that_they_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dump(tmp_path / "a.parquet", [paper(number) for number in range(50)])
    threads = KeyThreads(LabelRules(), TEXT_TEMPLATE, threads=1)
    read = shard_reader.content_hash

    def stopping(papers: object) -> str:
        threads._stopped.set()
        return read(papers)  # type: ignore[arg-type]

    monkeypatch.setattr(shard_reader, "content_hash", stopping)
    (run,) = shard_runs(planned(tmp_path, 1))
    assert len(threads.submit(run).result().shards) == 1
    threads.close()


def test_an_error_that_nobody_expects_is_that_of_its_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dump(tmp_path / "a.parquet", [paper(number) for number in range(4)])
    (run,) = shard_runs(planned(tmp_path, 2))
    read = shard_reader.screen_columns
    calls: list[int] = []

    def failing(papers: object, rules: LabelRules) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("a mistake")
        return read(papers, rules)  # type: ignore[arg-type]

    monkeypatch.setattr(shard_reader, "screen_columns", failing)
    first, second = KeyReader(LabelRules(), TEXT_TEMPLATE).read(run).shards
    assert first.error == f"{run.shards[0].name}: ZeroDivisionError: a mistake"
    assert second.error is None
    assert second.keys is not None


def test_decisions_do_not_depend_on_the_order_in_which_workers_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_keys, "RUN_ROWS", 3)
    same = {"title": "One title", "abstract": "One abstract."}
    for name in "abcd":
        rows = [paper(i % 11, **(same if i % 4 == 0 else {})) for i in range(30)]
        write_dump(tmp_path / f"in/{name}.parquet", rows, row_group_size=5)
    shards = planned(tmp_path / "in", 2)
    runs = list(map(KeyReader(LabelRules(), TEXT_TEMPLATE).read, shard_runs(shards)))
    found = []
    for seed in range(4):
        if seed:
            random.Random(seed).shuffle(runs)
        scratch = tmp_path / str(seed)
        scratch.mkdir()
        known = KnownLabels(files=[], n_labels=2)
        decided = Deduplication(shards, runs, known_labels=known, scratch=scratch, advance=lambda _: None)
        decisions = [(decided.decisions(n).duplicates, decided.decisions(n).copies) for n in range(len(shards))]
        found.append((decided.shards, decisions, decided.audit_choice(3, key=5)))
        decided.close()
    assert found[1:] == found[:-1]
    assert any(copies for _, copies in found[0][1])


def test_a_run_of_single_shards_has_the_numbers_of_the_shards() -> None:
    file = InputFile(path=Path("a.parquet"), name="a", columns={}, group_starts=(0, 9))
    shards = tuple(Shard(file=file, start=start, rows=3) for start in (0, 3, 6))
    singles = list(ShardRun(number=70, first=5, shards=shards).single_shards())
    assert [(one.number, one.first, one.shards) for one in singles] == [(5 + i, 5 + i, (shards[i],)) for i in range(3)]


def test_a_full_disk_is_reported_with_what_to_do(tmp_path: Path) -> None:
    def full() -> Iterator[RunKeys]:
        raise duckdb.OutOfMemoryException("could not write to the temporary folder")
        yield

    known = KnownLabels(files=[], n_labels=2)
    with pytest.raises(SpecterBatchError, match="Free disk space in this folder and run the same command again"):
        Deduplication([], full(), known_labels=known, scratch=tmp_path, advance=lambda _: None)
