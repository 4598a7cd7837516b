from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import PaperSchemaError, ShardError
from specter_batch.inputs import parquet_inventory
from specter_batch.papers.columns import PaperColumns
from specter_jobs.plan.planning import plan_shards
from specter_jobs.plan.shards import Plan
from specter_jobs.screen.shard_reader import ShardReader
from support.papers_on_disk import paper, write_dump


def plan(root: Path, *, shard_rows: int) -> Plan:
    return plan_shards(parquet_inventory(root), columns=PaperColumns(), shard_rows=shard_rows)


def test_shards_cover_every_row_once_whatever_the_row_groups(tmp_path: Path) -> None:
    for name, group in (("a", 3), ("b", 100), ("c", 7)):
        write_dump(tmp_path / f"{name}.parquet", [paper(i) for i in range(23)], row_group_size=group)
    found = plan(tmp_path, shard_rows=10)
    assert [(shard.start, shard.rows) for shard in found.shards] == [(0, 10), (10, 10), (20, 3)] * 3
    assert found.rows == 69


def test_a_reader_gives_the_same_rows_in_order_and_out_of_order(tmp_path: Path) -> None:
    write_dump(tmp_path / "a.parquet", [paper(i) for i in range(50)], row_group_size=8)
    shards = plan(tmp_path, shard_rows=7).shards
    in_order = ShardReader()
    expected = [in_order.read(shard).table["paper_id"].to_pylist() for shard in shards]
    assert [paper_id for ids in expected for paper_id in ids] == [f"p{i}" for i in range(50)]
    reader = ShardReader()
    for number in np.random.default_rng(0).permutation(len(shards)):
        assert reader.read(shards[number]).table["paper_id"].to_pylist() == expected[number]


def test_a_shard_name_is_a_safe_file_name_and_unique(tmp_path: Path) -> None:
    for name in ("x/part 0.parquet", "y/part 0.parquet", "z/…;rm -rf.parquet"):
        write_dump(tmp_path / name, [paper(0)])
    names = [shard.name for shard in plan(tmp_path, shard_rows=5).shards]
    assert len(set(names)) == 3
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for name in names)


def test_names_do_not_change_when_another_file_arrives(tmp_path: Path) -> None:
    write_dump(tmp_path / "b.parquet", [paper(i) for i in range(9)])
    before = {shard.name for shard in plan(tmp_path, shard_rows=4).shards}
    write_dump(tmp_path / "a.parquet", [paper(i) for i in range(9)])
    assert before < {shard.name for shard in plan(tmp_path, shard_rows=4).shards}


def test_an_unreadable_file_is_set_aside(tmp_path: Path) -> None:
    write_dump(tmp_path / "a.parquet", [paper(0)])
    (tmp_path / "b.parquet").write_bytes(b"")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 but not really")
    found = plan(tmp_path, shard_rows=5)
    assert [file.name for file in found.files] == ["a.parquet"]
    assert [failed.name for failed in found.failed] == ["b.parquet", "c.parquet"]
    assert "the file is empty" in found.failed[0].error


def test_no_readable_file_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b.parquet").write_bytes(b"")
    with pytest.raises(PaperSchemaError, match="the file is empty"):
        plan(tmp_path, shard_rows=5)


def test_a_file_that_vanishes_after_planning_is_a_shard_error(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "a.parquet", [paper(0)])
    shard = plan(tmp_path, shard_rows=5).shards[0]
    path.unlink()
    with pytest.raises(ShardError, match="the file is gone"):
        ShardReader().read(shard)


def test_a_file_that_shrinks_after_planning_is_a_shard_error(tmp_path: Path) -> None:
    write_dump(tmp_path / "a.parquet", [paper(i) for i in range(9)])
    shard = plan(tmp_path, shard_rows=5).shards[1]
    write_dump(tmp_path / "a.parquet", [paper(0)])
    with pytest.raises(ShardError, match="changed while the job ran"):
        ShardReader().read(shard)


def test_a_zero_row_file_has_no_shards_unless_there_is_no_row_at_all(tmp_path: Path) -> None:
    write_dump(tmp_path / "a.parquet", [])
    write_dump(tmp_path / "b.parquet", [])
    (shard,) = plan(tmp_path, shard_rows=5).shards
    assert (shard.file.name, shard.rows) == ("a.parquet", 0)
    write_dump(tmp_path / "b.parquet", [paper(1)])
    assert [shard.file.name for shard in plan(tmp_path, shard_rows=5).shards] == ["b.parquet"]


def test_a_reject_can_name_its_row_group(tmp_path: Path) -> None:
    write_dump(tmp_path / "a.parquet", [paper(i) for i in range(10)], row_group_size=4)
    file = plan(tmp_path, shard_rows=5).files[0]
    assert [file.group_of(row) for row in range(10)] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_embeddings_beside_the_papers_are_left_out(tmp_path: Path) -> None:
    write_dump(tmp_path / "a.parquet", [paper(1)])
    metadata = {"encoder": "e", "pooling": "cls", "text_template": "t"}
    schema = pa.schema([("paper_id", pa.string()), ("embedding", pa.list_(pa.float32()))], metadata=metadata)
    pq.write_table(schema.empty_table(), tmp_path / "embeddings.parquet")
    found = plan(tmp_path, shard_rows=10)
    assert [file.name for file in found.files] == ["a.parquet"]
    assert (found.failed, list(found.ignored)) == ((), ["embeddings.parquet"])
    with pytest.raises(PaperSchemaError, match="holds only embeddings"):
        plan(tmp_path / "embeddings.parquet", shard_rows=10)
