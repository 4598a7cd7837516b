"""Of several copies of a work the one of the newest date is taken, wherever the copies are."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.dumps.on_disk import arxiv, rows, run, write_lines


def openalex(title: str, date: str | None) -> dict[str, Any]:
    work = {"id": "https://openalex.org/W1", "title": title, "abstract_inverted_index": None}
    return work | ({"updated_date": date} if date else {})


def crossref(title: str, date: str | None) -> dict[str, Any]:
    return {"DOI": "10.5555/A", "title": [title]} | ({"indexed": {"date-time": f"{date}T01:02:03Z"}} if date else {})


def snapshot(title: str, date: str | None) -> dict[str, Any]:
    return arxiv(1, title=title, update_date=date)


@pytest.mark.parametrize(("name", "make"), [("openalex", openalex), ("crossref", crossref), ("arxiv", snapshot)])
def test_the_newest_date_wins_and_the_others_are_named(name: str, make: Any, tmp_path: Path) -> None:
    for file, date in (("a", "2026-02-02"), ("b", "2025-01-01"), ("c", None), ("d", "2026-02-01")):
        write_lines(tmp_path / "in" / f"{file}.jsonl", [make(f"Title {file}", date)])
    account = run(name, tmp_path / "in", tmp_path / "out").account
    assert [row["title"] for row in rows(tmp_path / "out", "papers")] == ["Title a"]
    assert account.rejects_by_reason == {"superseded": 3}
    assert {row["detail"] for row in rows(tmp_path / "out", "rejects")} == {"by a.jsonl record 1"}


def test_full_texts_beside_the_papers_of_s2ag_are_not_read_as_papers(tmp_path: Path) -> None:
    write_lines(tmp_path / "in/papers/p.jsonl", [{"corpusid": 5, "title": "Five", "year": 2020.0}])
    write_lines(tmp_path / "in/abstracts/a.jsonl", [{"corpusid": 5, "abstract": "Of <i>five</i>."}])
    for field in ("body", "content", "bibliography"):
        full = {"corpusid": 5, "title": "Five", "authors": [], field: {"text": "All of it."}}
        write_lines(tmp_path / f"in/full-{field}/f.jsonl", [full])
    run("s2ag", tmp_path / "in", tmp_path / "out")
    (paper,) = rows(tmp_path / "out", "papers")
    assert (paper["paper_id"], paper["abstract"], paper["year"]) == ("5", "Of five.", 2020)
    assert json.loads((tmp_path / "out/ingest.json").read_text())["records"]["read"] == 1
