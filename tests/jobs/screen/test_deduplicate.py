import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.inputs import parquet_inventory
from specter_batch.papers.columns import PAPER_SCHEMA, PaperColumns
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.text import TEXT_TEMPLATE
from specter_jobs.plan.planning import plan_shards
from specter_jobs.plan.sections import LabelRules
from specter_jobs.plan.shard_keys import shard_runs
from specter_jobs.screen.deduplicate import STATEMENT_SIZE, Deduplication, StatementSize
from specter_jobs.screen.known_labels import KnownLabels
from specter_jobs.screen.shard_reader import KEPT_BYTES, KeyReader, Room, ShardReader, content_hash
from support.papers_on_disk import paper, write_dump


def deduplicated(
    root: Path,
    scratch: Path,
    *,
    shard_rows: int = 4,
    statement: StatementSize = STATEMENT_SIZE,
    kept_bytes: int = 0,
) -> Deduplication:
    plan = plan_shards(parquet_inventory(root), columns=PaperColumns(), shard_rows=shard_rows)
    scratch.mkdir(exist_ok=True)
    (scratch / "survey.duckdb").unlink(missing_ok=True)
    reader = KeyReader(LabelRules(), TEXT_TEMPLATE, Room(kept_bytes))
    return Deduplication(
        plan.shards,
        map(reader.read, shard_runs(plan.shards)),
        known_labels=KnownLabels(files=[], n_labels=2),
        scratch=scratch,
        advance=lambda _: None,
        statement=statement,
    )


def rows_of(deduplication: Deduplication, kind: str) -> list[tuple[str, int]]:
    return [
        (found.shard.file.name, found.shard.start + row)
        for found in deduplication.shards
        for row in getattr(deduplication.decisions(found.number), kind)
    ]


def duplicates(deduplication: Deduplication) -> list[tuple[str, int]]:
    found = rows_of(deduplication, "duplicates")
    deduplication.close()
    return found


def contents(deduplication: Deduplication) -> list[str]:
    deduplication.close()
    return [found.content for found in deduplication.shards]


def test_the_first_row_of_an_id_wins_within_and_across_files(tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1), paper(2), paper(1), paper(3), paper(2), paper(1)])
    write_dump(tmp_path / "in/b.parquet", [paper(3), paper(4)])
    found = deduplicated(tmp_path / "in", tmp_path / "scratch")
    assert found.decisions(0).duplicates[2] == "first in a.parquet row 0"
    assert duplicates(found) == [("a.parquet", 2), ("a.parquet", 4), ("a.parquet", 5), ("b.parquet", 0)]


def test_which_row_is_the_duplicate_does_not_depend_on_the_shard_size(tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(i % 7) for i in range(30)])
    found = {n: duplicates(deduplicated(tmp_path / "in", tmp_path / "scratch", shard_rows=n)) for n in (1, 5, 100)}
    assert found[1] == found[5] == found[100] == [("a.parquet", row) for row in range(7, 30)]


def test_an_unusable_row_does_not_hide_a_usable_one_of_the_same_id(tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1, title=None), paper(1), paper(1)])
    assert duplicates(deduplicated(tmp_path / "in", tmp_path / "scratch")) == [("a.parquet", 2)]


def test_null_ids_are_no_duplicates_of_each_other(tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(1, paper_id=None), paper(2, paper_id=None)])
    assert duplicates(deduplicated(tmp_path / "in", tmp_path / "scratch")) == []


def test_the_content_hash_is_of_the_rows_not_of_the_file(tmp_path: Path) -> None:
    rows = [paper(i, abstract=None if i == 3 else "x") for i in range(8)]
    write_dump(tmp_path / "in/a.parquet", rows)
    before = contents(deduplicated(tmp_path / "in", tmp_path / "scratch"))
    table = pa.Table.from_pylist(rows).cast(pa.schema([(name, pa.large_string()) for name in rows[0]]))
    pq.write_table(table, tmp_path / "in/a.parquet", compression="zstd", row_group_size=3)
    assert contents(deduplicated(tmp_path / "in", tmp_path / "scratch")) == before


def test_any_changed_value_changes_the_content_hash(tmp_path: Path) -> None:
    variants = [
        {},
        {"paper_id": "q"},
        {"title": "Other"},
        {"abstract": "Other"},
        {"abstract": None},
        {"abstract": ""},
        {"title": "ab", "abstract": "c"},
        {"title": "a", "abstract": "bc"},
    ]
    hashes = []
    for changes in variants:
        write_dump(tmp_path / "in/a.parquet", [paper(1, **changes)])
        hashes.append(contents(deduplicated(tmp_path / "in", tmp_path / "scratch"))[0])
    assert len(set(hashes)) == len(variants)


def test_a_shard_is_other_work_when_one_of_its_rows_becomes_a_duplicate(tmp_path: Path) -> None:
    write_dump(tmp_path / "in/b.parquet", [paper(1), paper(2)])
    before = contents(deduplicated(tmp_path / "in", tmp_path / "scratch"))[0]
    write_dump(tmp_path / "in/a.parquet", [paper(2)])
    assert contents(deduplicated(tmp_path / "in", tmp_path / "scratch"))[1] != before


def test_decisions_are_the_same_however_many_shards_a_statement_serves(tmp_path: Path) -> None:
    same = {"title": "One title", "abstract": "One abstract."}
    write_dump(tmp_path / "in/a.parquet", [paper(i % 11, **(same if i % 4 == 0 else {})) for i in range(30)])
    found = []
    for shards, rows in ((1, 1000), (3, 1000), (1000, 5), (1000, 1000)):
        size = StatementSize(shards=shards, rows=rows)
        deduplication = deduplicated(tmp_path / "in", tmp_path / "scratch", shard_rows=2, statement=size)
        decided = {kind: rows_of(deduplication, kind) for kind in ("duplicates", "copies")}
        once, again = (deduplication.decisions(14).duplicates for _ in range(2))  # not in the order of the shards
        assert once == again != {}
        found.append((decided, contents(deduplication)))
    assert found[1:] == found[:-1]
    assert found[0][0]["copies"] != []


def test_an_unreadable_row_group_fails_its_shards_only(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)], row_group_size=4)
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    content = bytearray(path.read_bytes())
    start = column.data_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    deduplication = deduplicated(tmp_path / "in", tmp_path / "scratch")
    deduplication.close()
    assert [found.error is not None for found in deduplication.shards] == [False, True, False]
    assert "rows 4 to 8 cannot be read" in (deduplication.shards[1].error or "")


def test_a_text_that_stands_twice_is_a_copy_of_the_first_that_is_no_duplicate(tmp_path: Path) -> None:
    same = {"title": "One title", "abstract": "One abstract."}
    write_dump(tmp_path / "in/a.parquet", [paper(1), paper(1, **same), paper(2, **same), paper(3)])
    write_dump(tmp_path / "in/b.parquet", [paper(4, **same)])
    deduplication = deduplicated(tmp_path / "in", tmp_path / "scratch")
    assert deduplication.decisions(1).copies == {0: deduplication.shards[0].shard.name}
    assert rows_of(deduplication, "copies") == [("b.parquet", 0)]
    deduplication.close()


def hash_by_lists(papers: PaperBatch) -> str:
    """Hash the same rows value by value."""
    digest = hashlib.blake2b(digest_size=16)
    for column in papers.table.columns:
        values = column.to_pylist()
        digest.update(np.array([-1 if value is None else len(value) for value in values], dtype="<i8").tobytes())
        digest.update("".join(value or "" for value in values).encode())
    digest.update(papers.invalid_unicode.tobytes())
    return digest.hexdigest()


@settings(deadline=None)
@given(
    st.lists(st.lists(st.one_of(st.none(), st.text(max_size=9)), min_size=4, max_size=4), max_size=12),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_the_hash_of_rows_does_not_depend_on_how_they_are_held(
    rows: list[list[str | None]], start: int, cut: int
) -> None:
    columns = [pa.array([row[number] for row in rows], pa.string()) for number in range(4)]
    whole = pa.table(columns, schema=PAPER_SCHEMA)
    # Nulls that hide bytes, as a filter on another column leaves them.
    hidden = [pc.if_else(pa.array([i % 2 == 0 for i in range(len(rows))]), column, None) for column in columns]
    for table in (whole, pa.table(hidden, schema=PAPER_SCHEMA)):
        part = table.slice(min(start, len(rows)))
        chunks = pa.concat_tables([part.slice(0, cut), part.slice(min(cut, part.num_rows))])
        for held in (part, chunks):
            papers = PaperBatch(table=held, invalid_unicode=np.zeros(held.num_rows, np.bool_))
            assert content_hash(papers) == hash_by_lists(papers)


def test_the_hash_of_rows_leaves_out_bytes_that_a_null_hides() -> None:
    offsets, data = pa.py_buffer(np.array([0, 3, 6], np.int32)), pa.py_buffer(b"abcdef")
    hiding = pa.StringArray.from_buffers(2, offsets, data, pa.py_buffer(b"\x01"))
    assert hiding.to_pylist() == ["abc", None]
    papers = PaperBatch(table=pa.table([hiding] * 4, schema=PAPER_SCHEMA), invalid_unicode=np.zeros(2, np.bool_))
    assert content_hash(papers) == hash_by_lists(papers)


def test_papers_stay_in_memory_until_they_are_taken_as_far_as_there_is_room(tmp_path: Path) -> None:
    write_dump(tmp_path / "in/a.parquet", [paper(number) for number in range(10)])
    deduplication = deduplicated(tmp_path / "in", tmp_path / "scratch", kept_bytes=KEPT_BYTES)
    shards = deduplication.shards
    read = [ShardReader().read(shard.shard) for shard in shards]
    kept = [deduplication.take_papers(shard.number) for shard in shards]
    assert [papers and papers.table for papers in kept] == [papers.table for papers in read]
    assert [deduplication.take_papers(shard.number) for shard in shards] == [None, None, None]
    deduplication.close()
    room = read[0].table.nbytes + read[2].table.nbytes
    small = deduplicated(tmp_path / "in", tmp_path / "other", kept_bytes=room)
    assert [small.take_papers(shard.number) is not None for shard in shards] == [True, False, True]
    small.close()
