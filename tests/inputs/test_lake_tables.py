"""Folders that a table format manages are read in their current version, or refused with advice."""

import sys
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import PaperSchemaError
from specter_batch.inputs import InputInventory, parquet_inventory, take_inventory
from specter_jobs.dumps.inputs import dump_kind


def table_of(*rows: tuple[str, str | None]) -> pa.Table:
    return pa.table({"paper_id": [row[0] for row in rows], "label": pa.array([row[1] for row in rows], pa.string())})


def ids_in(inventory: InputInventory) -> list[str]:
    return sorted(
        value for file in inventory.files for value in pq.ParquetFile(file.path).read()["paper_id"].to_pylist()
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "dump" / "table"
    deltalake.write_deltalake(folder, table_of(("a", "x"), ("b", "y"), ("c", "y")))
    deltalake.DeltaTable(folder).delete("paper_id = 'b'")
    deltalake.write_deltalake(folder, table_of(("d", "x")), mode="append")
    return folder


def test_only_the_current_rows_of_a_delta_table_are_read(table: Path) -> None:
    inventory = parquet_inventory(table)
    assert ids_in(inventory) == ["a", "c", "d"]
    assert set(inventory.ignored.values()) == {
        "no data, because its name begins with _ or .",
        "not in the current version of its Delta Lake table",
    }
    assert not inventory.failed


def test_a_delta_table_beside_other_files_is_read_too(table: Path) -> None:
    pq.write_table(table_of(("z", None)), table.parent / "plain.parquet")
    assert ids_in(parquet_inventory(table.parent)) == ["a", "c", "d", "z"]
    assert ids_in(parquet_inventory(f"{table.parent}/**")) == ["a", "c", "d", "z"]
    assert ids_in(parquet_inventory(f"{table}/*.parquet")) == ["a", "c", "d"]


def test_partitions_of_a_delta_table_come_from_its_log(tmp_path: Path) -> None:
    rows = table_of(("a", "x y"), ("b", "z/é"), ("c", None), ("d", "100 %"))
    deltalake.write_deltalake(tmp_path / "t", rows, partition_by=["label"])
    inventory = parquet_inventory(tmp_path / "t")
    found: dict[str, str | None] = {}
    for file in inventory.files:
        found |= dict.fromkeys(pq.ParquetFile(file.path).read()["paper_id"].to_pylist(), file.partitions["label"])
    assert found == {"a": "x y", "b": "z/é", "c": None, "d": "100 %"}


def test_a_file_that_the_log_names_and_that_is_gone_has_failed(table: Path) -> None:
    gone = parquet_inventory(table).files[0]
    Path(str(gone.path)).unlink()
    assert "is listed in the log" in parquet_inventory(table).failed[gone.name]


def test_a_folder_within_a_delta_table_is_refused(tmp_path: Path) -> None:
    deltalake.write_deltalake(tmp_path / "t", table_of(("a", "x")), partition_by=["label"])
    with pytest.raises(PaperSchemaError, match="give the folder of the table"):
        parquet_inventory(tmp_path / "t/label=x")


def test_a_link_into_a_delta_table_is_refused_and_one_to_it_is_followed(tmp_path: Path) -> None:
    deltalake.write_deltalake(tmp_path / "t", table_of(("a", "x"), ("b", "y")), partition_by=["label"])
    (tmp_path / "in").mkdir()
    (tmp_path / "in/part").symlink_to(tmp_path / "t/label=x")
    (tmp_path / "in/whole").symlink_to(tmp_path / "t")
    inventory = parquet_inventory(tmp_path / "in")
    assert ids_in(inventory) == ["a", "b"]
    assert list(inventory.failed) == ["part/"]
    (tmp_path / "in/whole").unlink()
    with pytest.raises(PaperSchemaError, match="lies in the Delta Lake table"):
        parquet_inventory(tmp_path / "in/part")


def test_a_glob_that_takes_a_part_of_a_delta_table_misses_nothing(tmp_path: Path) -> None:
    deltalake.write_deltalake(tmp_path / "t", table_of(("a", "x"), ("b", "y")), partition_by=["label"])
    inventory = parquet_inventory(f"{tmp_path}/t/label=x/*.parquet".replace("/t/", "/[t]/"))
    assert ids_in(inventory) == ["a"]
    assert not inventory.failed


def test_deletion_vectors_are_refused(table: Path) -> None:
    log = table / "_delta_log" / "00000000000000000003.json"
    log.write_text(
        '{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],'
        '"writerFeatures":["deletionVectors"]}}\n'
    )
    with pytest.raises(PaperSchemaError, match=r"it uses deletionVectors; write its current version as plain parquet"):
        parquet_inventory(table)


def test_without_its_reader_a_delta_table_is_refused_with_advice(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(PaperSchemaError, match=r"pip install 'specter-batch\[delta\]'"):
        parquet_inventory(table)
    pq.write_table(table_of(("z", None)), table.parent / "plain.parquet")
    inventory = parquet_inventory(table.parent)
    assert ids_in(inventory) == ["z"]
    assert list(inventory.failed) == ["table/"]


@pytest.mark.parametrize(
    ("format_", "names"),
    [
        ("Iceberg", ["data/a.parquet", "metadata/v1.metadata.json"]),
        ("Iceberg", ["data/a.parquet", "metadata/version-hint.text"]),
        ("Hudi", ["2026/a.parquet", ".hoodie/hoodie.properties"]),
    ],
)
def test_iceberg_and_hudi_tables_are_refused_with_advice(tmp_path: Path, format_: str, names: list[str]) -> None:
    for name in names:
        path = tmp_path / "dump/table" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table_of(("a", None)), path)
    with pytest.raises(PaperSchemaError, match=rf"{format_} table, which is not read.*as plain parquet"):
        parquet_inventory(tmp_path / "dump/table")
    with pytest.raises(PaperSchemaError, match=f"lies in the {format_} table"):
        parquet_inventory(tmp_path / "dump/table" / names[0].partition("/")[0])
    pq.write_table(table_of(("z", None)), tmp_path / "dump/plain.parquet")
    inventory = parquet_inventory(tmp_path / "dump")
    assert ids_in(inventory) == ["z"]
    assert list(inventory.failed) == ["table/"]


def test_a_folder_named_metadata_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    pq.write_table(table_of(("a", None)), tmp_path / "metadata/a.parquet")
    assert ids_in(parquet_inventory(tmp_path)) == ["a"]


def test_a_table_in_a_dump_of_another_format_is_refused(table: Path) -> None:
    (table.parent / "a.jsonl").write_text("{}")
    inventory = take_inventory(table.parent, dump_kind((".jsonl",), what="jsonl"))
    assert list(inventory.failed) == ["table/"]
