import json
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import f1_score

from support.papers_on_disk import RunNight, paper, read_all, write_dump

LABELS = ("Diabetes mellitus", "HIV/AIDS", "Mental disorders")


def mixed(n: int) -> list[dict[str, Any]]:
    """Return papers of which every third has no abstract, with true labels that are right by chance."""
    gaps = [None, "", "  "]
    rows = [paper(i, label=LABELS[i // 3 % 3]) for i in range(n)]
    return [row | {"abstract": gaps[i % 9 // 3]} if i % 3 == 0 else row for i, row in enumerate(rows)]


def test_papers_known_by_their_title_alone_are_reported_on_their_own(night: RunNight, tmp_path: Path) -> None:
    rows = mixed(60)
    dump = write_dump(tmp_path / "in/a.parquet", rows)
    report = night(dump, missing_abstract="title_only", language="any", shard_rows=13).report
    found = {row["paper_id"]: row for row in read_all(tmp_path / "out/labels")}
    bare = [row for row in rows if not (row["abstract"] or "").strip()]
    predicted = [found[row["paper_id"]]["label"] for row in bare]
    part = report.title_only
    assert part.papers == len(bare) == 20
    assert {name: count for name, count in part.label_papers.items() if count} == {
        name: predicted.count(name) for name in predicted
    }
    assert sum(part.label_shares.values()) == pytest.approx(1)
    assert part.mean_score == pytest.approx(sum(found[row["paper_id"]]["score"] for row in bare) / 20)
    true = [row["label"] for row in bare]
    assert part.macro_f1 == pytest.approx(f1_score(true, predicted, average="macro", zero_division=0))
    assert part.scored_papers == 20
    assert report.scored_papers == 60


def test_without_true_labels_the_slice_has_shares_and_no_f1(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1, abstract=None), paper(2)])
    part = night(dump, missing_abstract="title_only", language="any").report.title_only
    assert (part.papers, part.macro_f1, part.accuracy, part.scored_papers) == (1, None, None, 0)
    assert "## Papers without abstract\n\n1 papers were labelled" in (tmp_path / "out/report.md").read_text()
    assert "Papers without abstract" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize("missing_abstract", ["reject", "title_only"])
def test_a_night_without_such_papers_has_no_slice(night: RunNight, tmp_path: Path, missing_abstract: str) -> None:
    rows = [paper(1), *([paper(2, abstract=None)] if missing_abstract == "reject" else [])]
    report = night(write_dump(tmp_path / "in/a.parquet", rows), missing_abstract=missing_abstract).report
    assert report.title_only is None
    assert "Papers without abstract" not in (tmp_path / "out/report.md").read_text()
    assert "Papers without abstract" not in (tmp_path / "out/report.html").read_text()


def test_a_resumed_night_reports_the_same_slice(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", mixed(30))
    settings: dict[str, Any] = {"missing_abstract": "title_only", "language": "any", "shard_rows": 7}
    night(dump, **settings)
    whole = (tmp_path / "out/report.json").read_bytes()
    ledger = tmp_path / "out/ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
    assert night(dump, **settings).manifest.this_run.shards == 3
    assert (tmp_path / "out/report.json").read_bytes() == whole
    assert json.loads(whole)["title_only"]["papers"] == 10


def test_a_reused_label_counts_in_the_slice(night: RunNight, tmp_path: Path) -> None:
    rows = [paper(i, abstract=None, title="One and the same title") for i in range(4)]
    dump = write_dump(tmp_path / "in/a.parquet", rows)
    report = night(dump, missing_abstract="title_only", language="any").report
    assert (report.rows.reused, report.title_only.papers) == (3, 4)
