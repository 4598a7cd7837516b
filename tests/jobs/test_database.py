"""duckdb takes folders of any name, reads no columns from them, and never loads an extension."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import specter_batch
import specter_jobs
from specter_batch.errors import ShardError, SpecterBatchError
from specter_batch.papers.parquet import read_table, write_table
from specter_jobs import database
from specter_jobs.database import allow_joins, opened_database, register_parquet

ODD_NAMES = [
    "version=2026",
    "date=2026-11-24",
    "what?",
    "run[1]",
    "a*b",
    "night:1",
    "md:x",
    "s3:",
    "file:x",
    "it's",
    'say "so"',
    "back\\slash",
    "a%20b",
    "a b",
    "{date}",
    "ünì",
    os.fsdecode(b"latin-\xe9"),
]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_of_any_name_is_only_a_folder(
    tmp_path: Path, name: str, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(name) if relative else tmp_path / name
    folder.mkdir()
    write_table(folder / "a.parquet", pa.table({"id": ["x"], "version": [1], "date": ["d"]}))
    write_table(folder / "b.parquet", pa.table({"id": ["y"], "version": [2], "date": ["e"]}))
    with opened_database(folder) as database:
        with register_parquet(database, "found", [folder / "a.parquet", folder / "b.parquet"], ["version", "id"]):
            rows = database.execute("SELECT * FROM found ORDER BY id").fetchall()
        assert rows == [(1, "x"), (2, "y")]
        # More than fits into memory, so that the folder is written to.
        database.execute("SET memory_limit = '40MB'")
        database.execute("CREATE TABLE many AS SELECT range AS n, md5(range::VARCHAR) AS text FROM range(1_000_000)")
        assert any(folder.glob("duckdb_temp*"))
        assert database.execute("SELECT count(*) FROM many").fetchall() == [(1_000_000,)]
    assert sorted(path.name for path in folder.iterdir()) == ["a.parquet", "b.parquet"]
    assert read_table(folder / "a.parquet").column_names == ["id", "version", "date"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", pa.table({"id": ["x"]}))
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    with (
        opened_database(tmp_path) as database,
        pytest.raises(ShardError, match=r"b\.parquet: cannot be read"),
        register_parquet(database, "found", [tmp_path / "a.parquet", tmp_path / "b.parquet"], ["id"]),
    ):
        database.execute("CREATE TABLE t AS SELECT * FROM found")


def test_extensions_are_neither_installed_nor_loaded(tmp_path: Path) -> None:
    with opened_database(tmp_path) as database:
        settings = dict(database.execute("SELECT name, value FROM duckdb_settings()").fetchall())
    assert settings["autoinstall_known_extensions"] == "false"
    assert settings["autoload_known_extensions"] == "false"


def test_nobody_else_opens_duckdb() -> None:
    roots = [Path(package.__path__[0]) for package in (specter_batch, specter_jobs)]
    importers = {
        path.name
        for root in roots
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "duckdb" in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }
    assert importers == {"database.py"}


FULL = """
import resource, sys
from pathlib import Path
from specter_batch.errors import SpecterBatchError
from specter_jobs import database
database.MEMORY = 30_000_000
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))  # stands for a disk without room
folder = Path(sys.argv[1])
try:
    with database.opened_database(folder / "_survey.x") as opened:
        opened.execute("CREATE TABLE t AS SELECT i, sha256(i::VARCHAR) FROM range(2000000) r(i)")
except SpecterBatchError as error:
    print(error)
"""


def test_tables_that_outgrow_the_disk_name_the_folder_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "_survey.x").mkdir()
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"{tmp_path}: the disk has no space for the temporary tables"), done.stderr
    assert "disk space in this folder and run the same command again" in done.stdout


def test_a_statement_that_needs_more_memory_than_it_may_have_does_not_blame_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MEMORY", 20_000_000)
    with (
        pytest.raises(SpecterBatchError, match="too many papers to compare at once with the memory allowed"),
        opened_database(tmp_path) as opened,
    ):
        opened.execute("CREATE TABLE t AS SELECT list(hash(i)) OVER (ORDER BY i) FROM range(3000000) r(i)")


def test_large_tables_may_use_more_memory_for_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MEMORY", 20_000_000)
    with opened_database(tmp_path) as opened:
        opened.execute("CREATE TABLE a AS SELECT hash(i) AS text FROM range(1000000) r(i)")
        opened.execute("CREATE TABLE b AS SELECT hash(i) AS text, i AS number FROM range(1000000) r(i)")
        join = "SELECT count(DISTINCT number), sum(length(text::VARCHAR)) FROM a JOIN b USING (text)"
        with pytest.raises(duckdb.OutOfMemoryException):
            opened.execute(join)
        allow_joins(opened, "a", "b")
        assert opened.execute(join).fetchall()[0][0] == 1_000_000


def test_small_tables_keep_the_limit(tmp_path: Path) -> None:
    with opened_database(tmp_path) as opened:
        opened.execute("CREATE TABLE a AS SELECT 1 AS i")
        limit = "SELECT current_setting('memory_limit')"
        before = opened.execute(limit).fetchall()
        allow_joins(opened, "a")
        assert opened.execute(limit).fetchall() == before
