"""The scripts of the page on warehouses keep the rules that the page promises, in every warehouse."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from specter_jobs.night.run import run_night
from specter_jobs.plan.config import NightConfig
from support.papers_on_disk import paper, read_all, write_dump
from support.servers.warehouses import NAMES, Warehouse, night_date, opened

Open = Callable[[], Any]
# A night's rows by paper id: the label, or None and a reason.
Night = dict[str, tuple[str | None, str | None]]
EXAMPLES = {"duckdb": 6, "postgres": 8, "delta": 8, "iceberg": 3}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of a warehouse; start its server, or skip where there is none."""
    if request.param == "postgres":
        request.getfixturevalue("postgres")
    return str(request.param)


@pytest.fixture
def warehouse(name: str, tmp_path: Path) -> Iterator[Warehouse]:
    with opened(name, tmp_path / "reader") as made:
        yield made


def label_night(bundle: Path, folder: Path, day: int, papers: Sequence[dict[str, Any]]) -> Path:
    """Label papers as the night of a day in November; return the night's folder."""
    dump = write_dump(folder / f"papers-{day}" / "part.parquet", list(papers)).parent
    out = folder / night_date(day).isoformat()
    values = {"dump": str(dump), "out": out, "bundle": bundle, "device": "cpu", "date": night_date(day)}
    result = run_night(NightConfig.load(None, values), console=Console(file=StringIO()))
    assert result.exit_code == 0
    return out


@pytest.fixture(scope="module")
def nights(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Return three nights by day; the dump of the 23rd has only new and changed papers."""
    folder = tmp_path_factory.mktemp("nights")
    papers = {
        21: [paper(2), paper(3), paper(8)],
        22: [*(paper(number) for number in range(1, 7)), paper(0, paper_id=None), paper(0, paper_id=" "), paper(1)],
        23: [paper(1, title="A title that changed"), paper(2, abstract=None), paper(3), paper(7)],
    }
    return {day: label_night(tiny_bundle, folder, day, rows) for day, rows in papers.items()}


def labels_of(night: Path) -> dict[str, str]:
    return {row["paper_id"]: row["label"] for row in read_all(night / "labels")}


def test_nights_of_the_job_are_loaded_by_the_rules(warehouse: Warehouse, nights: dict[int, Path]) -> None:
    first, second, late = nights[22], nights[23], nights[21]
    warehouse.load(first)
    # The rows without id are nobody's; the second row of p1 does not count as a rejected paper.
    assert warehouse.labels() == labels_of(first)
    assert warehouse.labels().keys() == {f"p{number}" for number in range(1, 7)}
    [held, *_] = warehouse.rows("labels")
    written = {row["paper_id"]: row for row in read_all(first / "labels")}[held["paper_id"]]
    assert (held["score"], held["text_hash"], held["night"]) == (written["score"], written["text_hash"], night_date(22))
    assert held["reject_reason"] is None
    assert len(held["bundle"]) == 64

    before = warehouse.rows("labels"), warehouse.rows("label_history")
    warehouse.load(first)
    assert (warehouse.rows("labels"), warehouse.rows("label_history")) == before

    warehouse.loader.append(warehouse.script("night_rows").night_rows(second))  # a load that ended halfway
    warehouse.load(second)
    newest = labels_of(first) | labels_of(second) | {"p2": "(missing_abstract)"}
    assert warehouse.labels() == newest
    warehouse.load(late)
    assert warehouse.labels() == newest | {"p8": labels_of(late)["p8"]}
    assert len(warehouse.rows("label_history")) == 6 + 4 + 3
    assert {row["paper_id"]: row["night"].day for row in warehouse.rows("labels")} == {
        "p1": 23, "p2": 23, "p3": 23, "p4": 22, "p5": 22, "p6": 22, "p7": 23, "p8": 21,
    }  # fmt: skip


LABEL_NAMES = ('Hepatitis "A"', "O'Brien's; drop table labels", "a, b\nc\td\\N", "Ünïcode", "", "NULL")
PAPER_RESULTS = st.one_of(
    st.sampled_from(LABEL_NAMES).map(lambda label: (label, None)), st.just((None, "missing_abstract"))
)
PAPER_IDS = st.sampled_from(["p1", "p'2", 'p"3', "p,4"])
# Loads in the order in which they happen; the same day may be loaded several times, with other rows.
LOAD = st.tuples(st.integers(20, 23), st.dictionaries(PAPER_IDS, PAPER_RESULTS, min_size=1))
LOADS = st.lists(LOAD, min_size=1, max_size=5)


def as_rows(schema: pa.Schema, day: int, papers: Night) -> pa.Table:
    rows = [
        {
            "paper_id": key,
            "label": label,
            "score": None if label is None else 1 / 3,
            "reject_reason": reason,
            "night": night_date(day),
        }
        for key, (label, reason) in papers.items()
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def test_any_order_of_loads_gives_the_newest_rows(name: str, tmp_path: Path) -> None:
    folders = count()

    @settings(max_examples=EXAMPLES[name], deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(loads=LOADS)
    def check(loads: list[tuple[int, Night]]) -> None:
        newest: dict[str, dict[str, Any]] = {}
        history: dict[int, list[dict[str, Any]]] = {}
        folder = tmp_path / str(next(folders))
        with opened(name, folder) as warehouse:
            for day, papers in loads:
                rows = as_rows(warehouse.script("night_rows").ROWS, day, papers)
                warehouse.loader.append(rows)
                warehouse.loader.merge(rows)
                history[day] = rows.to_pylist()
                newest |= {
                    row["paper_id"]: row
                    for row in history[day]
                    if row["paper_id"] not in newest or newest[row["paper_id"]]["night"] <= row["night"]
                }
            assert warehouse.rows("labels") == sorted(newest.values(), key=lambda row: row["paper_id"])
            everything = [row for rows in history.values() for row in rows]
            assert warehouse.rows("label_history") == sorted(
                everything, key=lambda row: (row["paper_id"], row["night"])
            )
        shutil.rmtree(folder)

    check()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Warehouse]:
    """Return the warehouse that needs the least, for tests of how a night is read."""
    with opened("duckdb", tmp_path / "reader") as made:
        yield made


def test_a_night_that_is_not_complete_is_not_loaded(reader: Warehouse, nights: dict[int, Path], tmp_path: Path) -> None:
    night = shutil.copytree(nights[22], tmp_path / "night")
    (night / "_SUCCESS").unlink()
    with pytest.raises(SystemExit, match=r"night has no _SUCCESS.* specter-batch status "):
        reader.load(night)
    assert not Path("warehouse.duckdb").exists()


def test_a_night_of_an_earlier_version_has_nulls_in_the_new_columns(
    reader: Warehouse, nights: dict[int, Path], tmp_path: Path
) -> None:
    night = shutil.copytree(nights[22], tmp_path / "night")
    old = ["paper_id", "label", "label_id", "score", "text_hash", "reused"]
    for file in (night / "labels").iterdir():
        pa.parquet.write_table(pa.parquet.read_table(file, columns=old, partitioning=None), file)
    rows = reader.script("night_rows").night_rows(night)
    assert rows["runner_up"].null_count == rows["margin"].null_count == rows.num_rows == 6
    reader.load(night, nights[23])
    assert reader.labels() == labels_of(nights[22]) | labels_of(nights[23]) | {"p2": "(missing_abstract)"}


def test_vectors_are_not_read(reader: Warehouse, nights: dict[int, Path], tmp_path: Path) -> None:
    night = shutil.copytree(nights[22], tmp_path / "night")
    [file] = (night / "labels").iterdir()
    table = pa.parquet.read_table(file, partitioning=None)
    vectors = pa.array([[0.5] * 3] * table.num_rows, pa.list_(pa.float32(), 3))
    pa.parquet.write_table(table.append_column("vectors", vectors), file)
    script = reader.script("night_rows")
    assert script.night_rows(night).schema == script.ROWS
    assert not any(pa.types.is_nested(field.type) for field in script.ROWS)


def test_a_night_without_ids_is_named(reader: Warehouse, tiny_bundle: Path, tmp_path: Path) -> None:
    night = label_night(tiny_bundle, tmp_path / "night", 22, [paper(1, paper_id=None)])
    with pytest.raises(SystemExit, match="has no paper with an id"):
        reader.load(night)
