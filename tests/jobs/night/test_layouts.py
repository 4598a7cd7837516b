"""Dumps as other writers lay them out: Spark, duckdb, polars and pandas have types, folders and files of their own."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from specter_batch.inputs import parquet_inventory
from specter_batch.papers.columns import PaperColumns
from specter_jobs.plan.planning import plan_shards
from specter_jobs.screen.shard_reader import ShardReader
from support.papers_on_disk import RunNight, paper, read_all

ABSTRACTS = [None if i % 7 == 3 else f"Abstract {i}. " * (i % 30) for i in range(200)]
ROWS = [paper(i, title=f"Étude {i} of 日本 𝛽-cells", abstract=text, label="x") for i, text in enumerate(ABSTRACTS)]
NAMES = list(ROWS[0])
PAPERS = pa.Table.from_pylist(ROWS)
SPARK_FILE = "part-00000-0b6c2a1e-7d3f-4e55-9f0a-3d8c6b1a2f44-c000.snappy.parquet"


def found_in(path: Path) -> list[dict[str, Any]]:
    """Return the papers of a dump as the job reads them, in shards that fit no row group."""
    plan = plan_shards(parquet_inventory(path), columns=PaperColumns(), shard_rows=37)
    assert plan.failed == ()
    reader = ShardReader()
    batches = [reader.read(shard) for shard in plan.shards]
    assert not any(batch.invalid_unicode.any() for batch in batches)
    return [row for batch in batches for row in batch.table.to_pylist()]


def by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["paper_id"]))


# Types and encodings


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_every_compression_and_page_version_gives_the_same_papers(
    tmp_path: Path, compression: str, version: str
) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(PAPERS, file, compression=compression, data_page_version=version, row_group_size=64)
    assert found_in(file) == ROWS


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_every_encoding_of_text_gives_the_same_papers(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(PAPERS, file, use_dictionary=False, column_encoding=encoding, data_page_size=512)
    assert found_in(file) == ROWS


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),  # polars, pandas
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),  # categories of pandas
        pa.dictionary(pa.uint32(), pa.large_string()),  # and of polars
        pa.large_binary(),
    ],
    ids=str,
)
def test_every_type_of_text_gives_the_same_papers(tmp_path: Path, kind: pa.DataType) -> None:
    view = pa.types.is_string_view(kind)
    columns = [pa.array(PAPERS[name].to_pylist(), kind) if view else PAPERS[name].cast(kind) for name in NAMES]
    pq.write_table(pa.table(columns, names=NAMES), tmp_path / "a.parquet", row_group_size=64)
    assert found_in(tmp_path / "a.parquet") == ROWS


def test_columns_that_must_have_a_value_read_like_those_that_may(tmp_path: Path) -> None:
    whole = [row for row in ROWS if row["abstract"] is not None]
    schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in NAMES])
    pq.write_table(pa.Table.from_pylist(whole, schema=schema), tmp_path / "a.parquet")
    assert not pq.ParquetFile(tmp_path / "a.parquet").schema_arrow.field("title").nullable
    assert found_in(tmp_path / "a.parquet") == whole


@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize("kind", [pa.int32(), pa.uint64(), pa.decimal128(38, 0), pa.decimal128(9, 0)], ids=str)
def test_ids_that_are_whole_numbers_of_any_kind_become_their_digits(
    tmp_path: Path, kind: pa.DataType, store_schema: bool
) -> None:
    ids = pa.array([Decimal(i) if pa.types.is_decimal(kind) else i for i in range(200)], kind)
    pq.write_table(PAPERS.set_column(0, "paper_id", ids), tmp_path / "a.parquet", store_schema=store_schema)
    assert [row["paper_id"] for row in found_in(tmp_path / "a.parquet")] == [str(i) for i in range(200)]


def test_files_of_one_dump_may_differ_in_types_and_in_the_order_of_their_columns(tmp_path: Path) -> None:
    pq.write_table(PAPERS.slice(0, 90), tmp_path / "a.parquet")
    large = pa.schema([(name, pa.large_string()) for name in NAMES])
    pq.write_table(PAPERS.slice(90).cast(large).select(NAMES[::-1]), tmp_path / "b.parquet", compression="gzip")
    assert found_in(tmp_path) == ROWS


def test_columns_that_are_not_needed_may_hold_anything(tmp_path: Path) -> None:
    n = len(ROWS)
    table = PAPERS.append_column("authors", pa.array([[{"name": "A", "ids": [1]}]] * n))
    table = table.append_column("embedding", pa.array([[0.5] * 8] * n, pa.list_(pa.float32(), 8)))
    table = table.append_column("year", pa.array([2026.0] * n))
    pq.write_table(table, tmp_path / "a.parquet")
    assert found_in(tmp_path / "a.parquet") == ROWS


# Spark


def spark_folder(folder: Path, *, compression: str = "snappy") -> Path:
    """Write papers as `df.write.partitionBy("date").parquet(...)` does."""
    times = pa.array([1_700_000_000_000_000_000] * len(ROWS), pa.timestamp("ns"))
    partition = folder / "date=2026-11-22"
    partition.mkdir(parents=True)
    file = partition / SPARK_FILE
    # Spark knows no Arrow schema, writes its timestamps as INT96 and names its lists in its own way.
    pq.write_table(
        PAPERS.append_column("updated", times),
        file,
        compression=compression,
        use_deprecated_int96_timestamps=True,
        store_schema=False,
        row_group_size=64,
        version="1.0",
    )
    (partition / f".{SPARK_FILE}.crc").write_bytes(b"crc\x00")
    (folder / "_SUCCESS").touch()
    (folder / "._SUCCESS.crc").write_bytes(b"crc\x00")
    return file


@pytest.mark.parametrize("compression", ["snappy", "gzip", "zstd"])
def test_a_folder_of_spark_is_read_and_its_markers_and_checksums_are_not(tmp_path: Path, compression: str) -> None:
    file = spark_folder(tmp_path / "in", compression=compression)
    assert pq.ParquetFile(file).schema.column(4).physical_type == "INT96"
    assert found_in(tmp_path / "in") == ROWS
    assert [found.path for found in parquet_inventory(tmp_path / "in").files] == [file]


def test_what_spark_has_not_finished_or_keeps_for_itself_is_not_read(tmp_path: Path) -> None:
    file = spark_folder(tmp_path / "in")
    for name in (
        "_temporary/0/task_0/part-00001.snappy.parquet",
        "_metadata",
        "_common_metadata",
        "_committed_123",
        ".spark-staging-7/date=2026-11-22/part-00002.snappy.parquet",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.read_bytes())
    assert [found.path for found in parquet_inventory(tmp_path / "in").files] == [file]


def test_text_that_spark_wrote_without_marking_it_as_text_is_read_as_utf8(tmp_path: Path) -> None:
    binary = pa.schema([(name, pa.binary()) for name in NAMES])
    pq.write_table(PAPERS.cast(binary), tmp_path / "a.parquet", store_schema=False)
    assert found_in(tmp_path / "a.parquet") == ROWS


def test_a_night_over_partitions_names_the_partition_of_each_reject(night: RunNight, tmp_path: Path) -> None:
    spark_folder(tmp_path / "in")
    report = night(tmp_path / "in", language="any").report
    assert report.rows.rejected == report.rejects_by_reason["missing_abstract"] > 0
    rejects = read_all(tmp_path / "out/rejects")
    assert {row["file"] for row in rejects} == {f"date=2026-11-22/{SPARK_FILE}"}
    assert {row["detail"] for row in rejects} == {"null", "empty"}
    assert rejects[-1]["row_group"] == 3


# duckdb, and Arrow's datasets


@pytest.mark.parametrize(
    "options",
    [
        "COMPRESSION zstd, ROW_GROUP_SIZE 2048",
        "COMPRESSION brotli",
        "COMPRESSION lz4_raw",
        "PARQUET_VERSION V2",  # delta encodings
        "PER_THREAD_OUTPUT",
        "PARTITION_BY (date, source)",
    ],
)
def test_what_duckdb_copies_is_read(tmp_path: Path, options: str) -> None:
    with duckdb.connect() as database:
        database.register("papers", PAPERS)
        select = "SELECT *, '2026-11-22' AS date, 'a b' AS source FROM papers"
        database.execute(f"COPY ({select}) TO '{tmp_path / 'out.parquet'}' (FORMAT parquet, {options})")
    assert by_id(found_in(tmp_path)) == by_id(ROWS)


def test_an_enumeration_of_duckdb_is_read_as_its_names(tmp_path: Path) -> None:
    with duckdb.connect() as database:
        database.register("papers", PAPERS)
        database.execute("CREATE TYPE topic AS ENUM ('x', 'y')")
        select = "SELECT * REPLACE (label::topic AS label) FROM papers"
        database.execute(f"COPY ({select}) TO '{tmp_path / 'a.parquet'}' (FORMAT parquet)")
    assert found_in(tmp_path) == ROWS


def test_a_partitioned_dataset_of_arrow_is_read(tmp_path: Path) -> None:
    table = PAPERS.append_column("year", pa.array([2020 + i % 3 for i in range(len(ROWS))]))
    ds.write_dataset(table, tmp_path / "in", format="parquet", partitioning=ds.partitioning(
        pa.schema([("year", pa.int64())]), flavor="hive"
    ))  # fmt: skip
    assert len(parquet_inventory(tmp_path / "in").files) == 3
    assert by_id(found_in(tmp_path / "in")) == by_id(ROWS)
