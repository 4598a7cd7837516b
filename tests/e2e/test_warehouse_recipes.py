"""The recipes of the page on late data, deletions and old nights do what the page says, in every warehouse."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from support.pages import ROOT, blocks
from support.servers.warehouses import NAMES, Warehouse, night_date, opened

PAGE = "docs/backfill.md"
# The statements of the page, each by words that only it has.
VIEW, REJECTED, OLD, ERASE = "create or replace view", "last_labelled", "current_date - 90", "delete from labels where"
BUNDLES, CHANGED, BACK, COLUMN = "group by bundle", "as before", "begin;", "add column"
IDS = ("sample-001302", "sample-001234")


def statement(words: str) -> str:
    """Return the block of SQL that has these words."""
    [found] = [text for language, text in blocks(PAGE) if language == "sql" and words in text]
    return found


def test_every_statement_of_the_page_is_run() -> None:
    tried = {statement(words) for words in (VIEW, REJECTED, OLD, ERASE, BUNDLES, CHANGED, BACK, COLUMN)}
    assert tried == {text for language, text in blocks(PAGE) if language == "sql"}


@pytest.fixture(params=NAMES)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """Return a warehouse with two nights: in the second, `a` has another label, `b` is rejected and `d` is missing."""
    if request.param == "postgres":
        request.getfixturevalue("postgres")
    with opened(request.param, tmp_path / "reader") as made:
        add(made, night_date(22), {"a": "X", "b": "X", "c": "Y", "d": "Y"}, bundle="old")
        add(made, night_date(23), {"a": "Z", "b": None, "c": "Y"}, bundle="new")
        yield made


def add(warehouse: Warehouse, night: date, labels: dict[str, str | None], *, bundle: str, **more: Any) -> None:
    rows = [
        {"paper_id": key, "label": label, "reject_reason": None if label else "missing_abstract", "night": night}
        for key, label in labels.items()
    ]
    schema = warehouse.script("night_rows").ROWS
    table = pa.Table.from_pylist([row | {"bundle": bundle} | more for row in rows], schema=schema)
    warehouse.loader.append(table)
    warehouse.loader.merge(table)


def has_sql(warehouse: Warehouse) -> bool:
    return warehouse.name in {"duckdb", "postgres"}


def delete(warehouse: Warehouse, where: str) -> None:
    """Delete rows of both tables as the page says for tables in a lake."""
    for name in ("labels", "label_history"):
        if warehouse.name == "delta":
            DeltaTable(f"delta/{name}").delete(where)
        else:
            warehouse.loader.open_table(name).delete(where)


def test_a_paper_that_a_complete_dump_lacks_has_no_current_label(warehouse: Warehouse) -> None:
    if has_sql(warehouse):
        warehouse.sql(statement(VIEW))
        found = warehouse.sql("select paper_id, label from current_labels order by paper_id")
    else:
        newest = [row for row in warehouse.rows("label_history") if row["night"] == night_date(23)]
        found = [(row["paper_id"], row["label"]) for row in newest if row["label"]]
    assert found == [("a", "Z"), ("c", "Y")]


def test_deleted_papers_stay_deleted_until_a_later_night_has_them(warehouse: Warehouse) -> None:
    Path("deleted.txt").write_text("a\nd\n\na\nunknown\n")
    warehouse.run("mark_deleted", "deleted.txt", "2026-11-24")
    after = {"a": "(deleted)", "b": "(missing_abstract)", "c": "Y", "d": "(deleted)", "unknown": "(deleted)"}
    assert warehouse.labels() == after
    add(warehouse, night_date(23), {"a": "Z", "d": "Y"}, bundle="new")
    assert warehouse.labels() == after
    add(warehouse, night_date(25), {"a": "Z"}, bundle="new")
    assert warehouse.labels() == after | {"a": "Z"}


@pytest.mark.parametrize("warehouse", ["duckdb", "postgres"], indirect=True)
def test_papers_that_lost_their_label_are_found(warehouse: Warehouse) -> None:
    assert warehouse.sql(statement(REJECTED)) == [("b", "missing_abstract", night_date(23), night_date(22))]


def test_old_nights_go_and_the_newest_rows_stay(warehouse: Warehouse) -> None:
    today = datetime.now(UTC).date()
    add(warehouse, today - timedelta(days=200), {"a": "W", "old": "W"}, bundle="old")
    add(warehouse, today, {"a": "V"}, bundle="new")
    before = warehouse.labels()
    if has_sql(warehouse):
        warehouse.sql(statement(OLD))
    else:
        warehouse.run(f"clean_{warehouse.name}")
    assert warehouse.labels() == before
    assert before["old"] == "W"
    kept = {row["night"] for row in warehouse.rows("label_history")}
    assert kept == {night for night in (night_date(22), night_date(23), today) if night >= today - timedelta(days=90)}


@pytest.mark.parametrize("warehouse", ["delta", "iceberg"], indirect=True)
def test_cleaning_deletes_files_that_no_version_needs(warehouse: Warehouse) -> None:
    script = Path(f"clean_{warehouse.name}.py")
    at_once = {"days=7": "days=0", "7 * 24": "0, enforce_retention_duration=False"}
    script.write_text(re.sub("|".join(map(re.escape, at_once)), lambda found: at_once[found[0]], script.read_text()))
    labels = Path(warehouse.name, "labels" if warehouse.name == "delta" else "papers/labels/data")
    before = warehouse.rows("labels")
    assert len(list(labels.glob("*.parquet"))) == 2
    warehouse.run(f"clean_{warehouse.name}")
    assert len(list(labels.glob("*.parquet"))) == 1
    assert warehouse.rows("labels") == before
    add(warehouse, night_date(25), {"a": "A"}, bundle="new")
    assert warehouse.labels()["a"] == "A"


def test_erased_papers_leave_both_tables(warehouse: Warehouse) -> None:
    add(warehouse, night_date(23), dict.fromkeys([*IDS, "e"], "X"), bundle="new")
    if has_sql(warehouse):
        warehouse.sql(statement(ERASE))
    else:
        [where] = re.findall(r'`table\.delete\("(paper_id .*)"\)`', (ROOT / PAGE).read_text())
        delete(warehouse, where)
    for table in ("labels", "label_history"):
        assert {row["paper_id"] for row in warehouse.rows(table)}.isdisjoint(IDS)
    assert warehouse.labels()["e"] == "X"


@pytest.mark.parametrize("warehouse", ["duckdb", "postgres"], indirect=True)
def test_the_models_of_the_labels_are_counted_and_compared(warehouse: Warehouse) -> None:
    day = night_date(22), night_date(23)
    assert warehouse.sql(statement(BUNDLES)) == [("new", 2, day[1], day[1]), ("old", 1, day[0], day[0])]
    assert warehouse.sql(statement(CHANGED)) == [("X", "Z", 1)]


def test_a_night_is_taken_back(warehouse: Warehouse) -> None:
    if has_sql(warehouse):
        warehouse.sql(statement(BACK))
    else:
        history = warehouse.rows("label_history")
        delete(warehouse, "night = '2026-11-23'")
        delete(warehouse, "paper_id is not null")
        assert warehouse.rows("labels") == []
        first = [row for row in history if row["night"] == night_date(22)]
        add(warehouse, night_date(22), {row["paper_id"]: row["label"] for row in first}, bundle="old")
    assert warehouse.labels() == {"a": "X", "b": "X", "c": "Y", "d": "Y"}
    assert warehouse.rows("labels") == warehouse.rows("label_history")


def test_a_column_is_added(warehouse: Warehouse) -> None:
    script = Path("night_rows.py")
    marked = '("text_hash", pa.string()),'
    script.write_text(script.read_text().replace(marked, f'{marked} ("true_label", pa.string()),'))
    before = warehouse.rows("labels")
    warehouse.import_again()
    if has_sql(warehouse):
        warehouse.sql(statement(COLUMN))
    else:
        warehouse.run(f"add_column_{warehouse.name}")
    assert warehouse.rows("labels") == [row | {"true_label": None} for row in before]
    add(warehouse, night_date(24), {"a": "X"}, bundle="new", true_label="X")
    assert {row["paper_id"]: row["true_label"] for row in warehouse.rows("labels")} == dict.fromkeys("abcd") | {
        "a": "X"
    }
