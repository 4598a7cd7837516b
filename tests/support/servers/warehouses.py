"""The warehouses of the docs, loaded with the scripts that the pages show."""

import importlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from support.pages import scripts

PAGES = ("docs/warehouse.md", "docs/backfill.md")
NAMES = ("duckdb", "postgres", "delta", "iceberg")
Row = dict[str, Any]


class Warehouse:
    """One of the warehouses, in a folder of its own, with empty tables."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.import_again()

    def import_again(self) -> None:
        """Import the scripts as they are now; modules of another folder are forgotten."""
        for file in self.folder.glob("*.py"):
            sys.modules.pop(file.stem, None)
        importlib.invalidate_caches()
        self.loader = self.script(f"load_{self.name}")

    def script(self, name: str) -> ModuleType:
        """Import a script of the pages, as Python does in the reader's folder."""
        return importlib.import_module(name)

    def run(self, name: str, *arguments: str) -> None:
        """Run a script as `python name.py ARGUMENTS`."""
        text = (self.folder / f"{name}.py").read_text().replace("from load_duckdb", f"from load_{self.name}")
        kept, sys.argv = sys.argv, [f"{name}.py", *arguments]
        try:
            exec(compile(text, f"{name}.py", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own pages
        finally:
            sys.argv = kept

    def load(self, *nights: Path) -> None:
        """Load nights as the page says."""
        self.run(f"load_{self.name}", *map(str, nights))

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Run statements; return the rows of the last one, or nothing if it has none."""
        if self.name == "duckdb":
            with duckdb.connect("warehouse.duckdb") as warehouse:
                return warehouse.execute(text).fetchall()
        with psycopg.connect("dbname=warehouse", autocommit=True) as server:
            cursor = server.execute(text)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: str) -> list[Row]:
        """Return a table, ordered by paper and night."""
        found = self._rows(table)
        return sorted(found, key=lambda row: (row["paper_id"], row["night"]))

    def _rows(self, table: str) -> list[Row]:
        if self.name == "delta":
            return pa.table(DeltaTable(f"delta/{table}").to_pyarrow_table()).to_pylist()
        if self.name == "iceberg":
            return self.loader.open_table(table).scan().to_arrow().to_pylist()
        if self.name == "duckdb":
            with duckdb.connect("warehouse.duckdb") as warehouse:
                return warehouse.table(table).to_arrow_table().to_pylist()
        with psycopg.connect("dbname=warehouse") as server:
            cursor = server.cursor(row_factory=psycopg.rows.dict_row)
            return cursor.execute(f"select * from {table}").fetchall()  # type: ignore[arg-type]  # noqa: S608

    def labels(self) -> dict[str, str | None]:
        """Return the label of each paper in `labels`, or its reason in brackets."""
        return {row["paper_id"]: row["label"] or f"({row['reject_reason']})" for row in self.rows("labels")}


@contextmanager
def opened(name: str, folder: Path) -> Iterator[Warehouse]:
    """Make this process work in a new folder with the pages' scripts, as a reader does; the tables are empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for page in PAGES:
        for file, text in scripts(page).items():
            (folder / file).write_text(text)
    if name == "postgres":
        with psycopg.connect("dbname=postgres", autocommit=True) as server:
            server.execute("drop database if exists warehouse")
            server.execute("create database warehouse")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        # No bytecode: a script that a test changes within one second would be taken for the old one.
        patch.setattr(sys, "dont_write_bytecode", True)
        yield Warehouse(name, folder)


def night_date(day: int) -> date:
    """Return a date in November 2026."""
    return date(2026, 11, day)
