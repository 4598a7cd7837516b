from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import PaperSchemaError
from specter_batch.papers.columns import PAPER_SCHEMA
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.screening import screen_columns
from specter_jobs.plan.config import NightConfig
from support.papers_on_disk import RunNight, label_bytes, paper, read_all, write_dump


def screened(rows: list[dict[str, Any]], **settings: Any) -> dict[int, tuple[str, str | None]]:
    """Return reason and detail of each rejected row."""
    table = pa.Table.from_pylist(rows, schema=PAPER_SCHEMA)
    papers = PaperBatch(table=table, invalid_unicode=np.zeros(len(rows), dtype=np.bool_))
    config = NightConfig(dump="in", out=Path("out"), bundle=Path("bundle"), **settings)
    screening = screen_columns(papers, config)
    assert screening.usable.tolist() == [row not in screening.reasons for row in range(len(rows))]
    return {row: (reason, screening.details.get(row)) for row, reason in screening.reasons.items()}


@pytest.mark.parametrize(
    ("column", "reason"), [("paper_id", "null_id"), ("title", "missing_title"), ("abstract", "missing_abstract")]
)
def test_a_missing_value_tells_whether_it_is_null_or_empty_or_white_space(column: str, reason: str) -> None:
    values = [None, "", " \t\u3000", "there"]
    assert screened([paper(i, **{column: value}) for i, value in enumerate(values)]) == {
        0: (reason, "null"),
        1: (reason, "empty"),
        2: (reason, "white space"),
    }


def test_a_row_is_rejected_once_for_the_first_reason() -> None:
    rows = [paper(0, paper_id="", title=None, abstract=None), paper(1, title="", abstract="")]
    assert screened(rows, min_characters=50) == {0: ("null_id", "empty"), 1: ("missing_title", "empty")}


def test_short_papers_are_rejected_by_the_characters_of_title_and_abstract_together() -> None:
    rows = [
        paper(0, title="Four", abstract="sixsix"),
        paper(1, title="Four", abstract="  five5\n"),
        paper(2, title="日本語の論文", abstract="四文字で"),
        paper(3, title="𝛽-cell", abstract="né"),
    ]
    assert screened(rows, min_characters=10) == {1: ("too_short", "9 characters"), 3: ("too_short", "8 characters")}
    assert screened(rows) == {}


def test_a_missing_abstract_that_is_taken_has_no_characters() -> None:
    rows = [paper(0, title="Ten letter", abstract=None), paper(1, title="Nine letr", abstract="")]
    found = screened(rows, min_characters=10, missing_abstract="title_only")
    assert found == {1: ("too_short", "9 characters")}


def test_a_paper_that_is_too_short_does_not_hide_a_good_one_of_the_same_id(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1, title="No", abstract="Yes"), paper(1)])
    report = night(dump, min_characters=20).report
    assert (report.rows.labelled, report.rejects_by_reason) == (1, {"too_short": 1})
    (reject,) = read_all(tmp_path / "out/rejects")
    assert (reject["row"], reject["reason"], reject["detail"]) == (0, "too_short", "5 characters")


def test_another_least_length_runs_the_shards_again_and_back(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1), paper(2, title="No", abstract="N/A")])
    night(dump, language="any")
    before = label_bytes(tmp_path / "out")
    # Other labels are wanted, so the finished ones have to be given up.
    assert night(dump, language="any", min_characters=20, replace=True).manifest.this_run.shards == 1
    assert night(dump, language="any", min_characters=20).manifest.this_run.shards == 0
    night(dump, language="any", replace=True)
    assert label_bytes(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("ids", "got"),
    [
        (pa.array([1.0, float("nan")]), "double; write it as text or, from pandas, as Int64"),
        (pa.array([[1], [2]]), "list<"),
        (pa.array([{"doi": "1"}, {"doi": "2"}]), "struct<"),
        (pa.array([True, False]), "bool"),
        (pa.array([Decimal("1.5"), Decimal("2.5")]), r"decimal128\(2, 1\)"),
        (pa.array([b"0" * 16, b"1" * 16], pa.binary(16)), "fixed_size_binary"),
        (pa.array([1, 2], pa.timestamp("us")), "timestamp"),
    ],
    ids=str,
)
def test_a_column_that_holds_no_ids_fails_its_file_and_says_what_it_holds(
    night: RunNight, tmp_path: Path, ids: pa.Array, got: str
) -> None:
    good = write_dump(tmp_path / "in/good.parquet", [paper(1)])
    table = pa.table({"paper_id": ids, "title": ["a title"] * 2, "abstract": ["an abstract"] * 2})
    pq.write_table(table, tmp_path / "in/odd.parquet")
    result = night(tmp_path / "in")
    assert (result.exit_code, result.report.rows.labelled) == (3, 1)
    good.unlink()
    with pytest.raises(PaperSchemaError, match=f"column paper_id should hold text or whole numbers, got {got}"):
        night(tmp_path / "in", out=tmp_path / "out2")
